// SPDX-License-Identifier: MIT
// What one has subscribed to: its own cursor, and its messages once each and in order, whoever else shares the connection.
import { makePlaces } from './cursor.js';
import { covers } from './engine.js';
import { SluiceError, asFault, isFinal, pause } from './fault.js';

const DELAY_MS = 1000;

function decode(message) {
  if (message.type !== 'binary') return message;
  return { ...message, data: Uint8Array.from(atob(message.data), (letter) => letter.charCodeAt(0)) };
}

/**
 * It calls drop(error) at its end, and look(parameters) promises what there is. What is returned: `face`, what the caller of subscribe() gets; `wish`, what is wanted
 * of the engine; hear(event), what that tells; end(fault).
 */
export function openSubscription(channel, { since: start = 'now', onopen, onmessage, onreset, onrefused, ...more }, drop, look) {
  const places = makePlaces(start);
  const readers = new Set();
  let isClosed = false;
  let kept; // what the feed tells while one catches up with it; null: one is in step with it
  let error;

  const where = () => String(places) || start;

  const end = (fault) => {
    if (isClosed) return;
    isClosed = true;
    kept = undefined;
    error = fault && new SluiceError(fault);
    drop(error);
    if (error) onrefused?.(error);
    readers.forEach((reader) => reader());
  };

  const live = () => {
    if (kept === null) return;
    kept = null;
    onopen?.();
  };

  const take = (told) => {
    if (isClosed) return;
    if (told.reason) {
      places.take(told.cursor, true);
      onreset?.(told);
    } else if (told.stored === false || !places.has(told.id)) {
      const message = decode(told);
      places.take(told.id);
      onmessage?.(message);
      readers.forEach((reader) => reader(message));
    }
  };

  /** Reads by itself what the feed has told already, or what is wanted of the time before it. */
  const catchUp = async () => {
    const mine = kept = [];
    for (let isBehind = true; isBehind;) {
      const batch = await look({ since: where(), ...more }).catch(asFault);
      const { kind, told } = batch;
      if (mine !== kept) return;
      if (isFinal(batch)) return end(batch);
      if (kind) {
        await pause(batch.retryAfter || DELAY_MS);
      } else {
        told.forEach(take);
        places.take(batch.cursor);
        isBehind = told.length;
      }
    }
    live();
    mine.forEach(hear);
  };

  const hear = (event) => {
    const { told, fault, cursor, from } = event;
    if (told ? !covers(channel, told) : (event.channel ?? channel) !== channel) return;
    if (kept) {
      kept.push(event);
    } else if (told) {
      if (kept === null) take(told);
    } else if (event.channel && fault) {
      end(fault);
    } else if (fault || ((from || kept !== null) && where() !== 'now' && !cursor.split('.').every(places.has))) {
      catchUp();
    } else {
      places.take(cursor);
      live();
    }
  };

  return {
    hear, end,
    wish: { channel, more: JSON.parse(JSON.stringify(more)) }, // without what is undefined
    face: {
      channel,
      /** Where it stands: a later subscription goes on from there. Empty until it is known. */
      get cursor() { return String(places); },
      get isClosed() { return isClosed; },
      close: () => end(),

      /** Messages from now on; ends with the subscription, and closes it when the loop is left. */
      async* [Symbol.asyncIterator]() {
        const queue = [];
        let wake;
        readers.add((message) => {
          if (message) queue.push(message);
          wake?.();
        });
        try {
          while (queue.length || !isClosed) {
            if (queue.length) yield queue.shift();
            else await new Promise((resume) => { wake = resume; });
          }
          if (error) throw error;
        } finally {
          end();
        }
      },
    },
  };
}
