// SPDX-License-Identifier: MIT
import { toBase64 } from './publisher.js';
import { Sluice } from './sluice.js';

const STATES = { CONNECTING: 0, OPEN: 1, CLOSED: 2 };

/** An EventSource for the channels of a URL as the server has them, over whatever the network lets through. */
export class SluiceEventSource extends EventTarget {
  readyState = STATES.CONNECTING;
  onopen = null;
  onmessage = null;
  onerror = null;
  #sluice;

  constructor(url, { withCredentials = false, ...options } = {}) {
    super();
    const { href, origin, pathname, searchParams } = new URL(url, globalThis.location?.href);
    const [, path, first] = /^(.*)\/channels\/(.*)/.exec(pathname);
    const get = (name) => searchParams.get(name) ?? undefined;
    const told = [];
    const emit = (type, data, lastEventId = told.map(({ cursor }) => cursor).filter(Boolean).join('.')) => {
      const event = data === undefined ? new Event(type) : new MessageEvent(type, { data, origin, lastEventId });
      this[`on${type}`]?.(event);
      this.dispatchEvent(event);
    };
    this.url = href;
    this.withCredentials = withCredentials;
    const sluice = new Sluice(origin + path, { token: get('token'), credentials: withCredentials ? 'include' : 'same-origin', ...options });
    this.#sluice = sluice;
    sluice.addEventListener('state', ({ state }) => {
      if (state === 'open') this.readyState = STATES.OPEN;
      if (state === 'lost' && this.readyState < STATES.CLOSED) this.readyState = STATES.CONNECTING;
      if (state === 'open' || state === 'lost') emit(state === 'open' ? state : 'error');
    });
    sluice.addEventListener('refused', () => {
      this.close();
      emit('error');
    });
    for (const channel of [decodeURIComponent(first), ...searchParams.getAll('channel')]) {
      told.push(sluice.subscribe(channel, {
        since: get('since') || (get('last') ? `last=${get('last')}` : undefined), as: get('as'), policy: get('policy'),
        onmessage: ({ type, event = 'message', data }) => emit(event, type === 'json' ? JSON.stringify(data) : type === 'binary' ? toBase64(data) : data),
        onreset: (reset) => emit('reset', JSON.stringify(reset)),
      }));
    }
  }

  close() {
    this.readyState = STATES.CLOSED;
    this.#sluice.close();
  }
}
Object.assign(SluiceEventSource, STATES);
Object.assign(SluiceEventSource.prototype, STATES);
