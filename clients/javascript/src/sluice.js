// SPDX-License-Identifier: MIT
import { openEngine } from './engine.js';
import { SluiceError } from './fault.js';
import { ask, channelUrl, look } from './http.js';
import { makePublisher } from './publisher.js';
import { canShare, openShared } from './share.js';
import { openSubscription } from './subscription.js';

const MEMORY_MS = 3600000;
const HEARTBEAT_S = 15;
const PAGE_MEMBERS = 1000;

/** What worked last for this network, as far as a page can know which one that is; with `transport`, what works now. */
function remember(base, transport) {
  const name = `sluice ${base} ${globalThis.navigator?.connection?.type}`;
  try {
    if (transport) return localStorage.setItem(name, `${transport} ${Date.now()}`);
    const [known, time] = localStorage.getItem(name).split(' ');
    return Date.now() - time < MEMORY_MS && known;
  } catch {
    return ''; // there is none, or not for this page
  }
}

export class Sluice extends EventTarget {
  state = 'idle';

  constructor(url = '/', { token, transports = ['websocket', 'sse', 'stream', 'poll'], credentials = 'same-origin', heartbeat = HEARTBEAT_S, share = true } = {}) {
    super();
    const base = new URL(url, globalThis.location?.href).href.replace(/[?#].*/, '').replace(/\/+$/, '');
    const subscriptions = new Set();
    const lifetime = new AbortController();
    const { signal } = lifetime;
    const options = {
      base, credentials, heartbeat: heartbeat * 1000,
      transports: transports.filter((name) => name !== 'websocket' || globalThis.WebSocket),
      secret: typeof token === 'string' ? token : '', // who has another does not share
      token: async (why) => (typeof token === 'function' ? token(why) : token),
    };
    let here = base; // where the connection is
    let isShared = share && canShare();
    let isStale = false;
    let link;

    const access = async () => ({ credentials, token: await options.token() });

    const change = () => {
      if (isStale) return;
      isStale = true;
      queueMicrotask(() => {
        isStale = false;
        link?.want([...subscriptions].map((one) => one.wish()));
      });
    };

    const hear = (event) => {
      const { op, state, transport, fault } = event;
      const dispatch = (type) => this.dispatchEvent(Object.assign(new Event(type), event, { fault: fault && new SluiceError(fault) }));
      if (op !== 'state') {
        subscriptions.forEach((one) => one.hear(event));
        if (op === 'refused') dispatch(op);
        return;
      }
      here = event.base ?? here;
      Object.assign(this, { state, transport });
      if (transport) remember(base, transport);
      dispatch(state);
      dispatch(op);
    };

    const detach = () => subscriptions.forEach((one) => one.detach());
    const rest = () => {
      link?.close();
      link = undefined;
    };
    const resume = () => {
      if (link || signal.aborted) return;
      detach();
      link = (isShared ? openShared : openEngine)({ ...options, hint: remember(base) }, hear, isShared ? detach : undefined, () => {
        isShared = false; // it cannot be here after all
        queueMicrotask(() => { rest(); resume(); });
      });
      change();
    };

    /* The connection rests while the page is frozen or kept for the way back, and goes on with its cursors. */
    const on = (name, call) => [globalThis, globalThis.document].forEach((target) => target?.addEventListener?.(name, call, { signal }));
    on('online', () => link?.wake(true));
    on('visibilitychange', () => { if (!document.hidden) link?.wake(); });
    on('freeze', rest);
    on('pagehide', rest);
    on('resume', resume);
    on('pageshow', resume);
    resume();

    Object.assign(this, {
      publish: makePublisher(options, () => here),

      subscribe(channel, wanted = {}) {
        const one = openSubscription(channel, wanted, {
          drop() { subscriptions.delete(one); change(); },
          look: async ({ since }) => look(here, [channel], { since, ...await access() }),
        });
        subscriptions.add(one);
        change();
        return one.face;
      },

      /** Promises {members, count, anonymous, close()}, which is kept up to date, and told, where there is `onchange`. */
      presence: (channel, { onchange } = {}) => new Promise((resolve, reject) => {
        const room = { close() {} };
        let later; // what is told while a list comes
        let round = 0;
        const apply = ({ event, data }) => {
          for (const member of data.members) {
            room.members.delete(member.name);
            if (event !== 'leave') room.members.set(member.name, member);
          }
        };
        const list = async () => {
          const mine = ++round;
          const members = new Map();
          later = [];
          for (let after = ''; after !== undefined;) {
            const page = await ask(channelUrl(`${here}/api`, [`${channel}/presence`], { limit: PAGE_MEMBERS, after }), await access());
            if (mine !== round) return;
            for (const member of page.members) members.set(member.name, member);
            ({ next: after, count: room.count, anonymous: room.anonymous } = page);
          }
          room.members = members;
          later.forEach(apply);
          later = undefined;
          onchange?.(room);
          resolve(room);
        };
        const again = () => list().catch((fault) => {
          room.close();
          reject(new SluiceError(fault));
        });
        if (!onchange) return again();
        const told = this.subscribe(`${channel}/$presence`, {
          onopen: again,
          onreset: again,
          onrefused: reject,
          onmessage(message) {
            if (later) return later.push(message);
            apply(message);
            room.count = room.members.size;
            onchange(room);
          },
        });
        /* Who came and went during a loss is not told, nor between two polls. */
        const refresh = () => { if (room.members) list().catch(() => {}); };
        const timer = setInterval(() => { if (this.transport === 'poll') refresh(); }, options.heartbeat);
        this.addEventListener('open', refresh);
        signal.addEventListener('abort', () => room.close());
        room.close = () => {
          clearInterval(timer);
          this.removeEventListener('open', refresh);
          told.close();
        };
      }),

      close() {
        lifetime.abort();
        subscriptions.forEach((one) => one.end());
        rest();
      },
    });
  }
}
