// SPDX-License-Identifier: MIT
// Channels that are followed over WebSocket, Server-Sent Events or long-poll, whichever is chosen, from one to another and over
// every loss with the same cursor.
import { channelUrl, pause, refusal } from '../channel.js';

const DELAY_MS = 500;
const DELAY_MAX_MS = 15000;
/** Errors of the command protocol that pass by themselves. */
const PASSING = ['broker-down', 'broker-full', 'broker-refused', 'internal', 'memory-limit', 'out-of-memory', 'stopping'];

/* Each transport opens a feed once. `wish` is {channels, since, as, events}; `take` gets its opening ({cursor, recovered}), messages
 * and resets as the server says them. It resolves when the feed has ended or the signal has aborted, and throws what the server
 * says when it refuses. Over a WebSocket one publishes as well: `onPublish` gets a function for as long as it is open. */

function feedUrl({ channels: [first, ...others], as }, parameters) {
  return channelUrl(first, [...Object.entries({ ...parameters, ...(as && { as }) }), ...others.map((name) => ['channel', name])]);
}

function readFault({ code, message }) {
  return Object.assign(new Error(message), { isFinal: !PASSING.includes(code) });
}

function openWebSocket({ channels, since, as }, { signal, take, onPublish }) {
  const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/ws`);
  const asked = new Map();
  let refs = 0;

  const ask = (command) => new Promise((resolve, reject) => {
    const ref = ++refs;
    asked.set(ref, { resolve, reject });
    socket.send(JSON.stringify({ ref, ...command }));
  });

  const answer = ({ ref, op, ...rest }) => {
    const { resolve, reject } = asked.get(ref) ?? {};
    asked.delete(ref);
    if (op === 'error') reject?.(readFault(rest));
    else resolve?.(rest);
  };

  return new Promise((resolve, reject) => {
    socket.onopen = () => {
      ask({ op: 'subscribe', channels, since, ...(as && { as }) }).then((opening) => {
        if (!signal.aborted) take(opening);
        onPublish((data, key) => ask({ op: 'publish', channel: channels[0], data, idempotency_key: key }));
      }, (fault) => { reject(fault); socket.close(); });
    };
    socket.onmessage = ({ data }) => {
      const object = JSON.parse(data);
      if ('ref' in object) answer(object);
      else if (signal.aborted) return;
      else if (object.op === 'message') take(object);
      else if (object.op === 'reset') take({ reset: object });
    };
    socket.onclose = ({ reason }) => {
      const fault = new Error(reason || 'the connection was lost');
      for (const { reject: lose } of asked.values()) lose(fault);
      if (signal.aborted) resolve();
      else reject(fault);
    };
    signal.addEventListener('abort', () => socket.close());
  });
}

/** An EventSource says nothing of a refusal: a look at the channel does. */
async function explain(wish) {
  const response = await fetch(feedUrl(wish, { transport: 'json', wait: 0 }), { cache: 'no-store' });
  throw response.ok ? new Error('the stream was refused') : await refusal(response);
}

async function openEventSource(wish, { signal, take }) {
  const source = new EventSource(feedUrl(wish, { transport: 'sse', format: 'json', since: wish.since }));
  const listen = (name, read) => source.addEventListener(name, (event) => { if (!signal.aborted) take(read(event)); });
  listen('subscribed', ({ data }) => JSON.parse(data));
  listen('reset', ({ data }) => ({ reset: JSON.parse(data) }));
  for (const name of ['message', ...wish.events]) listen(name, ({ data, lastEventId }) => ({ ...JSON.parse(data), cursor: lastEventId }));
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => { source.close(); resolve(); });
    source.onerror = () => {
      const isRefused = source.readyState === EventSource.CLOSED;
      source.close();
      if (isRefused) explain(wish).catch(reject);
      else reject(new Error('the connection was lost'));
    };
  });
}

async function poll(wish, { signal, take }) {
  let cursor = wish.since;
  for (let isOpen = false; !signal.aborted; isOpen = true) {
    const url = feedUrl(wish, { transport: 'json', since: cursor, ...(!isOpen && { wait: 0 }) });
    const response = await fetch(url, { signal, cache: 'no-store' });
    if (!response.ok) throw await refusal(response);
    const batch = response.status === 204 ? { messages: [] } : await response.json();
    if (signal.aborted) return;
    cursor = batch.cursor ?? /"(.*)"/.exec(response.headers.get('ETag'))?.[1] ?? cursor;
    for (const reset of batch.reset ?? []) take({ reset });
    for (const message of batch.messages) take(message);
    take({ cursor });
  }
}

const TRANSPORTS = { websocket: openWebSocket, sse: openEventSource, poll };

/**
 * Follows channels from `since` on: a cursor, 'earliest', 'now' or 'last=N'. Of `options`, `as` is the name under which one is
 * present, `events` the names of events that an EventSource has to listen to. Of `handlers`, onMessage gets {id, data, …}, onReset what
 * the server says of a gap, onState 'connecting', 'live', 'reconnecting' or 'refused' (which is the end until a transport is chosen)
 * and a reason or ''.
 */
export class Feed {
  #wish;
  #handlers;
  #since;
  #cursor = new Map(); // its entries, by the part of each that stands for the channel
  #turn = new AbortController();
  #publish = null;

  constructor(channels, since, handlers, { as = '', events = [] } = {}) {
    this.#wish = { channels: [channels].flat(), as, events };
    this.#since = since;
    this.#handlers = handlers;
  }

  /** Goes on over that transport: 'websocket', 'sse' or 'poll'. */
  use(transport) {
    this.stop();
    this.#turn = new AbortController();
    this.#follow(TRANSPORTS[transport], this.#turn.signal);
  }

  stop() {
    this.#turn.abort();
    this.#publish = null;
  }

  /** Publishes JSON to the first channel, over the WebSocket if that is what the feed has; the key makes it safe to repeat. Throws why it was not taken. */
  async publish(data, key) {
    if (this.#publish) return this.#publish(data, key);
    const response = await fetch(channelUrl(this.#wish.channels[0], { idempotency_key: key }), {
      method: 'POST', body: JSON.stringify(data), headers: { 'Content-Type': 'application/json' },
    });
    if (!response.ok) throw await refusal(response);
    return response.json();
  }

  #take(told) {
    if (told.reset) this.#handlers.onReset(told.reset);
    else if (told.id) this.#handlers.onMessage(told);
    for (const entry of (told.reset?.cursor ?? told.cursor ?? told.id).split('.')) this.#cursor.set(entry.slice(0, 5), entry);
  }

  async #follow(open, signal) {
    let delay = DELAY_MS;
    this.#handlers.onState('connecting', '');
    while (!signal.aborted) {
      const onPublish = (publish) => { if (!signal.aborted) this.#publish = publish; };
      const take = (told) => {
        delay = DELAY_MS;
        this.#take(told);
        this.#handlers.onState('live', '');
      };
      const fault = await open({ ...this.#wish, since: [...this.#cursor.values()].join('.') || this.#since }, { signal, take, onPublish }).catch((caught) => caught);
      if (signal.aborted) return;
      this.#publish = null;
      if (fault?.isFinal || fault instanceof RangeError) {
        this.#handlers.onState('refused', fault.message);
        return;
      }
      this.#handlers.onState('reconnecting', fault instanceof TypeError ? 'the server does not answer' : fault?.message ?? '');
      await pause(delay * (0.5 + Math.random()), signal);
      delay = Math.min(2 * delay, DELAY_MAX_MS);
    }
  }
}
