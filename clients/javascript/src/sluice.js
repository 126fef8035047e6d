// SPDX-License-Identifier: MIT
import { Engine } from './engine.js';
import { look } from './http.js';
import { Publisher } from './publisher.js';
import { canShare, openShared } from './share.js';
import { Subscription } from './subscription.js';

const TRANSPORTS = ['websocket', 'sse', 'stream', 'poll'];
const MEMORY_MS = 3600000;
const HEARTBEAT_S = 15;

/** What worked last for this network, as far as a page can know which one that is. */
function memory(base) {
  const name = `sluice ${base} ${globalThis.navigator?.connection?.type ?? ''}`;
  const storage = () => globalThis.localStorage;
  return {
    read() {
      try {
        const [transport, time] = storage().getItem(name).split(' ');
        return Date.now() - time < MEMORY_MS ? transport : undefined;
      } catch {
        return undefined; // none, or not for this page
      }
    },
    write(transport) {
      try {
        storage().setItem(name, `${transport} ${Date.now()}`);
      } catch {
        // as above
      }
    },
  };
}

export class Sluice extends EventTarget {
  state = 'idle';
  transport;
  #options;
  #subscriptions = new Set();
  #publisher;
  #memory;
  #link;
  #isStale = false;
  #isShared;
  #lifetime = new AbortController();

  constructor(url = '/', { token, transports = TRANSPORTS, credentials = 'same-origin', heartbeat = HEARTBEAT_S, share = true } = {}) {
    super();
    const base = new URL(url, globalThis.location?.href).href.replace(/[?#].*|\/+$/g, '').replace(/\/+$/, '');
    this.#memory = memory(base);
    this.#isShared = share && canShare();
    this.#options = {
      base, credentials, heartbeat: heartbeat * 1000,
      transports: transports.filter((name) => name !== 'websocket' || globalThis.WebSocket),
      secret: typeof token === 'string' ? token : '', // who has another does not share
      token: async (why) => (typeof token === 'function' ? token(why) : token),
    };
    this.#publisher = new Publisher(this.#options);
    this.#attach();
    this.#watch();
  }

  /** Follows a channel: see docs/JAVASCRIPT.md. */
  subscribe(channel, options = {}) {
    const subscription = new Subscription(channel, options, {
      drop: (one) => { this.#subscriptions.delete(one); this.#change(); },
      look: async ({ channel: name, ...wish }) => look(this.#options.base, [name], {
        ...wish, as: undefined, info: undefined, token: await this.#options.token(), credentials: this.#options.credentials,
      }),
    });
    this.#subscriptions.add(subscription);
    this.#change();
    return subscription;
  }

  /** Resolves to {channel, id, time, type}; `options` are event, ttl, key, store, producer, type, and id, the idempotency key. */
  publish(channel, data, options = {}) {
    return this.#publisher.publish(channel, data, options);
  }

  close() {
    this.#lifetime.abort();
    for (const subscription of this.#subscriptions) subscription.end();
    this.#subscriptions.clear();
    this.#link?.close();
  }

  #attach() {
    const options = { ...this.#options, hint: this.#memory.read() };
    const hear = (event) => this.#hear(event);
    const detach = () => { for (const subscription of this.#subscriptions) subscription.detach(); };
    detach();
    this.#link = this.#isShared ? openShared(options, hear, detach, () => this.#part()) : new Engine(options, hear);
    this.#change();
  }

  /** There is no sharing here after all. */
  #part() {
    this.#isShared = false;
    queueMicrotask(() => { this.#link?.close(); this.#attach(); });
  }

  #change() {
    if (this.#isStale) return;
    this.#isStale = true;
    queueMicrotask(() => {
      this.#isStale = false;
      this.#link?.want([...this.#subscriptions].map(({ wish }) => wish));
    });
  }

  #hear(event) {
    if (event.op === 'state') this.#show(event);
    else for (const subscription of this.#subscriptions) subscription.hear(event);
    if (event.op !== 'refused') return;
    for (const subscription of this.#subscriptions) if (subscription.isClosed) this.#subscriptions.delete(subscription);
    this.#dispatch('refused', event);
  }

  #show({ state, transport, ...more }) {
    this.state = state;
    this.transport = transport;
    if (state === 'open') this.#memory.write(transport);
    this.#dispatch(state, { transport, ...more });
    this.#dispatch('state', { state, transport, ...more });
  }

  #dispatch(type, more) {
    this.dispatchEvent(Object.assign(new Event(type), more));
  }

  /** The connection rests while the page is frozen or kept for the way back, and goes on with its cursors. */
  #watch() {
    const { signal } = this.#lifetime;
    const on = (target, names, call) => names.split(' ').forEach((name) => target?.addEventListener?.(name, call, { signal }));
    const rest = () => { this.#link?.close(); this.#link = null; };
    const resume = () => { if (!this.#link) this.#attach(); };
    on(globalThis, 'online', () => this.#link?.wake(true));
    on(globalThis.document, 'visibilitychange', () => { if (!document.hidden) this.#link?.wake(); });
    on(globalThis.document, 'freeze', rest);
    on(globalThis, 'pagehide', rest);
    on(globalThis.document, 'resume', resume);
    on(globalThis, 'pageshow', resume);
  }
}
