// SPDX-License-Identifier: MIT
import { toBase64 } from './publisher.js';
import { Sluice } from './sluice.js';

const STATES = { CONNECTING: 0, OPEN: 1, CLOSED: 2 };

/** An EventSource for the channels of a URL as the server has them, over whatever the network lets through. */
export class SluiceEventSource extends EventTarget {
  onopen = null;
  onmessage = null;
  onerror = null;
  #sluice;

  constructor(url, { withCredentials = false, ...options } = {}) {
    super();
    const { href, origin, pathname, searchParams } = new URL(url, globalThis.location?.href);
    const [, path, first] = /(.*)\/channels\/(.*)/.exec(pathname);
    const { since, last, token, as, policy } = Object.fromEntries(searchParams);
    const sluice = new Sluice(origin + path, { token, credentials: withCredentials ? 'include' : undefined, ...options });
    const emit = (event) => {
      this[`on${event.type}`]?.(event);
      this.dispatchEvent(event);
    };
    const tell = (type = 'message', data) => emit(new MessageEvent(type, { data, origin, lastEventId: told.flatMap(({ cursor }) => cursor || []).join('.') }));
    const told = [decodeURIComponent(first), ...searchParams.getAll('channel')].map((channel) => sluice.subscribe(channel, {
      since: since || (last && `last=${last}`), as, policy,
      onmessage: ({ type, event, data }) => tell(event, type === 'json' ? JSON.stringify(data) : type === 'binary' ? toBase64(data) : data),
      onreset: (reset) => tell('reset', JSON.stringify(reset)),
    }));
    const fail = () => emit(new Event('error'));
    sluice.addEventListener('open', () => emit(new Event('open')));
    sluice.addEventListener('lost', fail);
    sluice.addEventListener('refused', () => {
      sluice.close();
      fail();
    });
    Object.assign(this, { url: href, withCredentials });
    this.#sluice = sluice;
  }

  get readyState() { return ['open', 'closed'].indexOf(this.#sluice.state) + 1; }

  close() { this.#sluice.close(); }
}
Object.assign(SluiceEventSource, STATES);
Object.assign(SluiceEventSource.prototype, STATES);
