// SPDX-License-Identifier: MIT
// What one has subscribed to: its own cursor, and its messages once each and in order, whoever else shares the connection.
import { Places, isCursor } from './cursor.js';
import { covers } from './engine.js';
import { lost } from './fault.js';

const DELAY_MS = 1000;

function decode(message) {
  if (message.type !== 'binary') return message;
  return { ...message, data: Uint8Array.from(atob(message.data), (letter) => letter.charCodeAt(0)) };
}

export class Subscription {
  channel;
  isClosed = false;
  #options;
  #owner; // {changed(), drop(subscription), look(channel, since)}
  #places;
  #isLive = false; // in step with the connection's feed
  #kept = null; // what the feed tells while one catches up with it
  #round = 0;
  #readers = new Set();

  constructor(channel, options, owner) {
    this.channel = channel;
    this.#options = options;
    this.#owner = owner;
    this.#places = new Places(isCursor(options.since) ? options.since : '');
  }

  /** Where it stands: a later subscription goes on from there. Empty until it is known. */
  get cursor() {
    return String(this.#places);
  }

  get wish() {
    const { as, info, policy } = this.#options;
    return { channel: this.channel, since: this.#since, as, info, policy };
  }

  get #since() {
    return this.cursor || this.#options.since || 'now';
  }

  close() {
    this.end();
    this.#owner.drop(this);
  }

  /** It is over, for that reason if there is one. */
  end(fault) {
    if (this.isClosed) return;
    this.isClosed = true;
    if (fault) this.#options.onrefused?.(fault);
    for (const reader of this.#readers) reader(fault);
  }

  /** The feed may be another one from now on. */
  detach() {
    this.#isLive = false;
    this.#kept = null;
    this.#round++;
  }

  hear(event) {
    const { op, message, reset, channel = reset?.channel ?? message?.tree ?? message?.channel } = event;
    if (this.isClosed || !covers(this.channel, channel)) return;
    if (op === 'subscribed') {
      if (channel === this.channel && this.#isLive) this.#places.take(event.cursor);
      else if (channel === this.channel && !this.#kept) this.#join(event);
    } else if (op === 'refused') {
      this.end(event.fault);
    } else if (this.#kept) {
      this.#kept.push(event);
    } else if (this.#isLive) {
      this.#take(event);
    }
  }

  #join({ cursor, from }) {
    const since = this.#since;
    if (from === since || cursor === since || (since === 'now' && from === undefined)) {
      this.#places.take(cursor);
      this.#live();
    } else {
      this.#catchUp();
    }
  }

  #live() {
    this.#isLive = true;
    this.#options.onopen?.();
  }

  /** Reads by itself what the feed, which others began, has told already. */
  async #catchUp() {
    const round = this.#round;
    this.#kept = [];
    for (let isBehind = true; isBehind;) {
      const batch = await this.#owner.look(this.wish).catch((fault) => fault);
      if (this.isClosed || round !== this.#round) return;
      if (batch.kind === 'final') return this.close(this.end(batch));
      if (batch.kind) {
        await new Promise((resume) => setTimeout(resume, batch.retryAfter || DELAY_MS));
        continue;
      }
      for (const reset of batch.reset ?? []) this.#take({ reset });
      for (const message of batch.messages) this.#take({ message });
      this.#places.take(batch.cursor);
      isBehind = batch.messages.length > 0;
    }
    const kept = this.#kept;
    this.#kept = null;
    this.#live();
    for (const event of kept) this.hear(event);
  }

  #take({ message, reset }) {
    if (this.isClosed) return;
    if (reset) {
      this.#places.take(reset.cursor, true);
      this.#options.onreset?.(reset);
    } else if (message.stored === false || !this.#places.has(message.id)) {
      this.#places.take(message.id);
      const told = decode(message);
      this.#options.onmessage?.(told);
      for (const reader of this.#readers) reader(null, told);
    }
  }

  /** Messages from now on; ends with the subscription, and closes it when the loop is left. */
  [Symbol.asyncIterator]() {
    const told = [];
    let failure;
    let wake;
    const reader = (fault, message) => {
      if (message) told.push(message);
      else failure = fault;
      wake?.();
    };
    this.#readers.add(reader);
    return {
      next: async () => {
        while (!told.length && !this.isClosed) await new Promise((resume) => { wake = resume; });
        if (told.length) return { value: told.shift(), done: false };
        if (failure) throw failure;
        return { value: undefined, done: true };
      },
      return: async () => {
        this.#readers.delete(reader);
        this.close();
        return { value: undefined, done: true };
      },
    };
  }
}
