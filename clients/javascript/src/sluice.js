// SPDX-License-Identifier: MIT
import { openEngine } from './engine.js';
import { SluiceError, asFault } from './fault.js';
import { ask, channelUrl, keepToken, look } from './http.js';
import { makePublisher } from './publisher.js';
import { canShare, openShared } from './share.js';
import { openSubscription } from './subscription.js';
import { TRANSPORTS } from './transports.js';

const MEMORY_MS = 3600000;
const HEARTBEAT_S = 15;
const PAGE_MEMBERS = 1000;

/** What has worked for this network, as far as a page can know which one that is; with `transport`, what works now. After an hour the best is tried first again. */
function remember(base, transport) {
  const name = `sluice ${base} ${globalThis.navigator?.connection?.type}`;
  try {
    const [known, time] = `${localStorage[name]}`.split(',');
    const isFresh = Date.now() - time < MEMORY_MS && known;
    if (transport && isFresh !== transport) localStorage[name] = [transport, Date.now()];
    return isFresh;
  } catch {} // there is no store, or none for this page
}

export class Sluice extends EventTarget {
  state = 'idle';

  constructor(url = '/', { token, transports = Object.keys(TRANSPORTS), credentials, heartbeat = HEARTBEAT_S, share = true } = {}) {
    super();
    const base = new URL(url, globalThis.location?.href).href.replace(/\/*([?#].*)?$/, '');
    const subscriptions = new Set();
    const lifetime = new AbortController();
    const { signal } = lifetime;
    const options = {
      base, credentials, transports, heartbeat: heartbeat * 1000,
      secret: token, // who has another does not share
      token: keepToken(async (why) => (typeof token === 'function' ? token(why) : token)),
    };
    let here = base; // where the connection is
    let timer;
    let link;

    const change = () => {
      clearTimeout(timer);
      timer = setTimeout(() => link?.want([...subscriptions].map((one) => one.wish)));
    };

    const dispatch = (type, more) => this.dispatchEvent(Object.assign(new Event(type), more));

    const hear = (event) => {
      const { state, transport, fault } = event;
      if (!state) return subscriptions.forEach((one) => one.hear(event));
      here = event.base ?? here;
      Object.assign(this, { state, transport });
      if (transport) remember(base, transport);
      for (const type of [state, 'state']) dispatch(type, { ...event, fault: fault && new SluiceError(fault) });
    };

    const rest = () => {
      if (!link) return;
      link.close();
      link = undefined;
      hear({ state: 'closed' });
    };
    const resume = () => {
      if (link) return;
      link = (share && canShare() ? openShared : openEngine)({ ...options, hint: remember(base) }, hear);
      change();
    };

    /* The connection rests while the page is frozen or kept for the way back, and goes on with its cursors. */
    const events = {
      online: () => link?.wake(true),
      visibilitychange: () => link?.wake(),
      freeze: rest, pagehide: rest, resume, pageshow: resume,
    };
    for (const name in events) globalThis.addEventListener?.(name, events[name], { signal, capture: true });
    resume();

    const subscribe = (channel, wanted = {}) => {
      const one = openSubscription(channel, wanted, (fault) => {
        subscriptions.delete(one);
        change();
        if (fault) dispatch('refused', { channel, fault });
      }, (parameters) => look(here, [channel], parameters, options));
      subscriptions.add(one);
      change();
      return one.face;
    };

    Object.assign(this, {
      subscribe,
      publish: makePublisher(options, () => here),

      /** Promises {members, count, anonymous, close()}, which is kept up to date, and told, where there is `onchange`. */
      presence: (channel, { onchange } = {}) => new Promise((resolve, reject) => {
        const room = { close() {} };
        let later; // what is told while a list comes
        const put = (list, members, isGone) => {
          for (const member of list) {
            if (isGone) members.delete(member.name);
            else members.set(member.name, member);
          }
        };
        const apply = ({ event, data }) => put(data.members, room.members, event === 'leave');
        const refresh = async () => {
          const mine = later = [];
          const members = new Map();
          let page = {};
          try {
            do {
              page = await ask(channelUrl(`${here}/api`, [`${channel}/presence`], { limit: PAGE_MEMBERS, after: page.next }), options);
              if (mine !== later) return;
              put(page.members, members);
            } while (page.next);
            Object.assign(room, page, { members });
            later = undefined;
            mine.forEach(apply);
            onchange?.(room);
            resolve(room);
          } catch (thrown) {
            if (!room.members) room.close();
            reject(new SluiceError(asFault(thrown)));
          }
        };
        if (!onchange) return refresh();
        const told = subscribe(`${channel}/$presence`, {
          onopen: refresh,
          onreset: refresh,
          onrefused: reject,
          onmessage(message) {
            if (later) return later.push(message);
            apply(message);
            room.count = room.members.size;
            onchange(room);
          },
        });
        /* Who came and went during a loss is not told, nor between two polls. */
        const clock = setInterval(() => { if (this.transport === 'poll') refresh(); }, options.heartbeat);
        this.addEventListener('open', refresh);
        room.close = () => {
          clearInterval(clock);
          this.removeEventListener('open', refresh);
          told.close();
        };
        signal.addEventListener('abort', room.close);
      }),

      close() {
        lifetime.abort();
        subscriptions.forEach((one) => one.end());
        rest();
      },
    });
  }
}
