// SPDX-License-Identifier: MIT
/* One connection for any number of channels: chooses the transport, goes on after every loss with the cursor, watches that something comes.
 *
 * It tells by `tell(event)`, event being
 * {op: 'state', state: 'idle' | 'connecting' | 'open' | 'lost' | 'closed', transport, base, fault, delay}: `base` is where the server is
 * {op: 'subscribed', channel, cursor, from}: the channel's feed stands there; `from` at its first opening only, where it was to begin
 * {op: 'message', message}, {op: 'reset', reset}
 * {op: 'refused', channel, fault}: the channel is not to be had
 */
import { isCursor, makePlaces } from './cursor.js';
import { asFault, makeFault } from './fault.js';
import { elsewhere, look } from './http.js';
import { TRANSPORTS } from './transports.js';

/** The next transport is tried beside one that has said nothing for so long. */
const STAGGER_MS = 1000;
/** A transport whose opening has not come is buffered, or cut off. */
const OPENING_MS = 3000;
const DELAY_MS = 500;
const DELAY_MAX_MS = 30000;
/** What is cut so soon, so often, is not what this network lets through. */
const SHORT_MS = 5000;
const SHORT_MAX = 3;
const DENIED_MAX = 3;
/** A new token is asked for so long before the old one is over. */
const RENEW_MS = 30000;
/** A probe of a connection that may be dead is answered within this time. */
const PROBE_MS = 5000;
const LOST_HEARTBEATS = 2.5;

/** Whether what is told of `name` is what a subscription to `channel` gets. */
export const covers = (channel, name) => channel === name
  || (channel.endsWith('/**') && name.startsWith(channel.slice(0, -2)) && !/(^|\/)\$/.test(name.slice(channel.length - 2)));

/**
 * Of `options`, `token(why)` promises one; `hint` is the transport to begin with. What is returned: want(wishes) says which subscriptions,
 * {channel, since, as, info, policy}, there shall be from now on (the first of a channel counts); wake(hasNetworkChanged) that the connection may
 * be dead, or the network back; close() ends it.
 */
export function openEngine({ base: home, transports, heartbeat, credentials, hint, token: askToken }, tell, table = TRANSPORTS) {
  const feeds = new Map(); // by channel: {channel, since, as, info, policy, places, isOpen}
  const attempts = new Set();
  const timers = {};
  let base = home; // or where a server that stops has sent us
  let first = transports.includes(hint) ? hint : transports[0]; // the transport with which one begins
  let queue = []; // of transports still to be tried
  let current; // the attempt that has opened
  let state = 'idle';
  let token;
  let lastFault;
  let rounds = 0; // in which no transport opened
  let cuts = 0; // of connections in a row, soon after they had opened
  let denied = 0;
  let retryMs = 0;
  let heardAt = 0;

  const all = () => [...feeds.values()];

  const after = (ms, name, call) => {
    clearTimeout(timers[name]);
    timers[name] = setTimeout(call, ms);
  };

  const show = (next, more) => {
    state = next;
    tell({ op: 'state', state, transport: current?.name, base, ...more });
  };

  const place = ({ channel, places, since: from, isOpen }) => tell({ op: 'subscribed', channel, cursor: String(places), from: isOpen ? undefined : from });

  const opened = (feed) => {
    place(feed);
    feed.isOpen = true;
  };

  const discard = (attempt) => {
    clearTimeout(attempt.timer);
    attempts.delete(attempt);
    attempt.isOver = true;
    attempt.session?.close();
  };

  /** Ends what is open and what is tried. */
  const drop = () => {
    Object.values(timers).forEach(clearTimeout);
    attempts.forEach(discard);
    if (current) discard(current);
    current = undefined;
    queue = [];
  };

  const rest = (next) => {
    drop();
    if (state !== next) show(next);
  };

  const refuse = (channel, fault) => {
    if (!feeds.delete(channel)) return;
    tell({ op: 'refused', channel, fault });
    if (!feeds.size) rest('idle');
  };

  const refuseAll = (fault) => all().forEach(({ channel }) => refuse(channel, fault));

  /** Tries the transports in their order, the one that worked last before all. */
  const connect = () => {
    drop();
    if (state !== 'connecting') show('connecting');
    queue = [...new Set([first, ...transports])];
    next();
  };

  const next = () => {
    const name = queue.shift();
    clearTimeout(timers.stagger);
    if (name) {
      after(STAGGER_MS, 'stagger', next);
      attempt(name);
    } else if (!attempts.size && !current) {
      rounds++;
      wait(lastFault);
    }
  };

  const wait = (fault) => {
    drop();
    const backOff = Math.min(DELAY_MAX_MS, DELAY_MS * 2 ** rounds) * (1 + Math.random()) / 2;
    const delay = fault.retryAfter * (1 + Math.random() / 4) || retryMs || backOff; // retry: has been spread by the server
    retryMs = 0;
    if (fault.where) base = elsewhere(home, fault.where);
    else if (rounds || fault.kind === 'busy') base = home;
    if (fault.kind === 'busy') rounds++;
    show('lost', { fault, delay });
    after(delay, 'again', connect);
  };

  /** What to do about a fault that is not the transport's. */
  const judge = async (fault) => {
    const { kind } = fault;
    if (kind !== 'token' && kind !== 'final') return wait(fault);
    drop();
    show('lost', { fault, delay: 0 });
    if (kind === 'final') return sift(fault);
    const former = token;
    if (denied++ < DENIED_MAX) token = await askToken(fault.code).catch(() => former);
    if (state !== 'lost') return;
    if (token && token !== former) connect();
    else refuseAll(fault);
  };

  /** Of several channels those that are refused are left out. */
  const sift = async (fault) => {
    const { size } = feeds;
    if (size > 1) {
      for (const { channel } of all()) {
        await look(base, [channel], { token, credentials, since: 'now' }).catch((refusal) => { if (refusal.kind === 'final') refuse(channel, refusal); });
      }
    }
    if (feeds.size === size) refuseAll(fault);
    else if (feeds.size && state === 'lost') connect();
  };

  const lose = (fault) => {
    cuts = Date.now() - current.since < SHORT_MS ? cuts + 1 : 0;
    if (cuts >= SHORT_MAX) {
      cuts = 0;
      first = transports[(transports.indexOf(current.name) + 1) % transports.length];
    }
    drop();
    judge(fault);
  };

  const fail = (one, fault) => {
    if (one.isOver) return;
    discard(one);
    lastFault = fault;
    if (fault.kind !== 'blocked') judge(fault);
    else if (!current) next();
    else if (one.name === current.name) lose(fault);
  };

  /** In one request with others a channel without a cursor begins now: what is wanted of it before that is looked at first. */
  const begin = async (feed) => {
    if (String(feed.places) || feed.since === 'now') return;
    const { messages, cursor } = await look(base, [feed.channel], { token, credentials, since: feed.since }).catch((fault) => {
      if (fault.kind !== 'final') throw fault;
      refuse(feed.channel, fault);
      return { messages: [], cursor: '' };
    });
    opened(feed);
    messages.forEach(take);
    feed.places.take(cursor);
  };

  /** Where each feed goes on, and the cursor that joins them. */
  const starts = () => {
    const joined = makePlaces();
    for (const feed of all()) {
      feed.start = String(feed.places) || feed.since;
      joined.take(String(feed.places));
    }
    return { feeds: all(), since: String(joined) || (feeds.size > 1 ? '' : all()[0].since) };
  };

  const attempt = async (name) => {
    const one = { name };
    attempts.add(one);
    one.timer = setTimeout(() => fail(one, makeFault(`nothing comes over ${name}`)), OPENING_MS * Math.min(4, 2 ** rounds));
    try {
      token ??= await askToken();
      if (name !== 'websocket' && feeds.size > 1) for (const feed of all()) await begin(feed);
      if (one.isOver) return;
      const start = starts();
      one.feeds = start.feeds;
      one.session = table[name]({ base, heartbeat, access: { token, credentials }, ...start }, {
        heard() { if (current === one) heardAt = Date.now(); },
        opened() { if (current !== one) choose(one); },
        stands(cursor, feed) { if (current === one) stand(cursor, feed ? [feed] : one.feeds); },
        told(object) { if (current === one) take(object); },
        expires: renewAt,
        retry(ms) { retryMs = ms; },
        refused: refuse,
        ended: (fault) => (current === one ? lose(fault) : fail(one, fault)),
      });
    } catch (fault) {
      fail(one, asFault(fault));
    }
  };

  /** It works: it takes the place of a worse one, and only better ones are still waited for. */
  const choose = (one) => {
    const rank = ({ name }) => transports.indexOf(name);
    clearTimeout(one.timer);
    clearTimeout(timers.stagger);
    attempts.delete(one);
    if (current) discard(current);
    current = one;
    first = one.name;
    queue = [];
    for (const other of attempts) if (rank(other) >= rank(one)) discard(other);
    rounds = denied = 0;
    one.since = heardAt = Date.now();
    watch();
    if (!one.session.subscribe) one.feeds.forEach(opened);
    show('open');
  };

  /* Entries come in the order of the channels; only those below NAME/** are not known by it. */
  const stand = (cursor, list) => {
    const entries = cursor.split('.');
    const pattern = list.find(({ channel }) => channel.endsWith('/**'));
    if (list.length < 2) list[0].places.become(cursor);
    else if (!pattern && entries.length === list.length) entries.forEach((entry, at) => list[at].places.become(entry));
    else for (const entry of entries) (list.find(({ places }) => places.knows(entry)) ?? pattern)?.places.take(entry);
    list.forEach(opened);
  };

  const take = ({ reset, op, cursor, ...message }) => {
    const { id } = message;
    const name = reset?.channel ?? message.tree ?? message.channel;
    const list = all().filter(({ channel }) => covers(channel, name));
    if (!list.length || (id && message.stored !== false && list.some(({ places }) => places.has(id)))) return;
    for (const { places } of list) places.take(reset?.cursor ?? id, reset);
    tell(reset ? { op: 'reset', reset } : { op: 'message', message });
  };

  const watch = () => after(heartbeat / 2, 'watch', () => {
    const silence = Date.now() - heardAt;
    if (silence >= LOST_HEARTBEATS * heartbeat) return lose(makeFault('nothing has been heard of the server'));
    if (silence >= heartbeat) current.session.ping?.();
    watch();
  });

  /** Opens the same transport anew beside the one that is open, which it then takes the place of. */
  const reopen = () => {
    attempts.forEach(discard);
    if (current) attempt(current.name);
  };

  const renewAt = (time) => after(Math.min(Math.max(time - Date.now() - RENEW_MS, (time - Date.now()) / 2), 2 ** 31 - 1), 'renew', async () => {
    token = await askToken('expires').catch(() => token);
    current?.session.renew?.(token);
  });

  return {
    want(wishes) {
      const gone = all().filter(({ channel }) => !wishes.some((wish) => wish.channel === channel));
      const come = [];
      for (const { channel } of gone) feeds.delete(channel);
      for (const wish of wishes) {
        const feed = feeds.get(wish.channel);
        if (feed?.isOpen) place(feed);
        if (feed) continue;
        const added = { ...wish, places: makePlaces(isCursor(wish.since) ? wish.since : '') };
        feeds.set(wish.channel, added);
        come.push(added);
      }
      const session = current?.session;
      if (!feeds.size) return rest('idle');
      if (state === 'idle') return connect();
      if (!gone.length && !come.length) return;
      if (session?.subscribe) {
        starts();
        gone.forEach(session.unsubscribe);
        come.forEach(session.subscribe);
      } else if (session) {
        after(0, 'reopen', reopen);
      } else if (attempts.size) {
        connect();
      }
    },

    wake(hasNetworkChanged) {
      const asked = Date.now();
      if (state === 'lost') {
        rounds = 0;
        connect();
      } else if (current?.session.ping) {
        current.session.ping();
        after(PROBE_MS, 'probe', () => { if (heardAt < asked) lose(makeFault()); });
      } else if (hasNetworkChanged) {
        reopen();
      }
    },

    close() {
      feeds.clear();
      rest('closed');
    },
  };
}
