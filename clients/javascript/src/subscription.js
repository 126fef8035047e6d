// SPDX-License-Identifier: MIT
// What one has subscribed to: its own cursor, and its messages once each and in order, whoever else shares the connection.
import { isCursor, makePlaces } from './cursor.js';
import { covers } from './engine.js';
import { SluiceError, asFault } from './fault.js';

const DELAY_MS = 1000;

function decode(message) {
  if (message.type !== 'binary') return message;
  return { ...message, data: Uint8Array.from(atob(message.data), (letter) => letter.charCodeAt(0)) };
}

/**
 * `owner` is {drop(), look(wish)}. What is returned: `face`, what the caller of subscribe() gets; wish(), what is wanted of the engine; hear(event), what that tells;
 * detach(), when another engine tells it from now on; end(fault).
 */
export function openSubscription(channel, { since: start = 'now', as, info, policy, onopen, onmessage, onreset, onrefused }, owner) {
  const places = makePlaces(isCursor(start) ? start : '');
  const readers = new Set();
  let isClosed = false;
  let isLive = false; // in step with the connection's feed
  let kept; // what the feed tells while one catches up with it
  let round = 0;

  const wish = () => ({ channel, since: String(places) || start, as, info, policy });

  const end = (fault) => {
    if (isClosed) return;
    const error = fault && new SluiceError(fault);
    isClosed = true;
    owner.drop();
    if (fault) onrefused?.(error);
    readers.forEach((reader) => reader(error));
  };

  const live = () => {
    isLive = true;
    onopen?.();
  };

  const take = ({ message, reset }) => {
    if (isClosed) return;
    if (reset) {
      places.take(reset.cursor, true);
      onreset?.(reset);
    } else if (message.stored === false || !places.has(message.id)) {
      const told = decode(message);
      places.take(message.id);
      onmessage?.(told);
      readers.forEach((reader) => reader(undefined, told));
    }
  };

  /** Reads by itself what the feed, which others began, has told already. */
  const catchUp = async () => {
    const mine = round;
    kept = [];
    for (let isBehind = true; isBehind;) {
      const batch = await owner.look(wish()).catch(asFault);
      if (isClosed || mine !== round) return;
      if (batch.kind === 'final') return end(batch);
      if (batch.kind) {
        await new Promise((resume) => setTimeout(resume, batch.retryAfter || DELAY_MS));
        continue;
      }
      for (const reset of batch.reset ?? []) take({ reset });
      for (const message of batch.messages) take({ message });
      places.take(batch.cursor);
      isBehind = batch.messages.length;
    }
    const events = kept;
    kept = undefined;
    live();
    events.forEach(hear);
  };

  const hear = (event) => {
    const { op, message, reset, cursor, from } = event;
    const name = event.channel ?? reset?.channel ?? message.tree ?? message.channel;
    if (isClosed || !covers(channel, name)) return;
    if (op === 'refused') end(event.fault);
    else if (op !== 'subscribed') {
      if (kept) kept.push(event);
      else if (isLive) take(event);
    } else if (channel === name && !kept) {
      const { since } = wish();
      if (!isLive && from !== since && cursor !== since && (since !== 'now' || from)) return catchUp();
      places.take(cursor);
      if (!isLive) live();
    }
  };

  const face = {
    channel,
    /** Where it stands: a later subscription goes on from there. Empty until it is known. */
    get cursor() { return String(places); },
    get isClosed() { return isClosed; },
    close: () => end(),

    /** Messages from now on; ends with the subscription, and closes it when the loop is left. */
    [Symbol.asyncIterator]() {
      const queue = [];
      let failure;
      let wake;
      readers.add((fault, message) => {
        if (message) queue.push(message);
        failure = fault;
        wake?.();
      });
      return {
        async next() {
          while (!queue.length && !isClosed) await new Promise((resume) => { wake = resume; });
          if (queue.length) return { value: queue.shift(), done: false };
          if (failure) throw failure;
          return { value: undefined, done: true };
        },
        async return() {
          end();
          return { value: undefined, done: true };
        },
      };
    },
  };
  return {
    face, wish, hear, end,
    detach() {
      isLive = false;
      kept = undefined;
      round++;
    },
  };
}
