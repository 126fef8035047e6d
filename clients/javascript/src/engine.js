// SPDX-License-Identifier: MIT
/* One connection for any number of channels: chooses the transport, goes on after every loss with the cursor, watches that something comes.
 *
 * It tells by `tell(event)`, event being one of
 * {state: 'idle' | 'connecting' | 'open' | 'lost', transport, base, fault, delay}: `base` is where the server is
 * {channel, cursor, from}: the channel's feed stands there; `from` is 'now' when it has just begun
 * {told}: a message, or a reset, which has a `reason`
 * {channel, fault}: the channel is not to be had; {fault}: one of them is not, and whose it is has to find out
 */
import { makePlaces } from './cursor.js';
import { asFault, isFinal, makeFault, readFault } from './fault.js';
import { TRANSPORTS } from './transports.js';

/** The next transport is tried beside one that has said nothing for so long. */
const STAGGER_MS = 1000;
/** A transport whose opening has not come is buffered, or cut off. */
const OPENING_MS = 3000;
/** So many times as long, once everything has failed. */
const SLOW = 4;
/** Between two rounds, and half as much again at random. */
const DELAY_MS = 250;
const DELAY_MAX_MS = 20000;
/** What is cut so soon, so often, is not what this network lets through. */
const SHORT_MS = 5000;
const SHORT_MAX = 3;
const LOST_HEARTBEATS = 2.5;

const isPattern = ({ channel }) => channel.endsWith('/**');

/** Whether a message or a reset is what a subscription to `channel` gets. */
export const covers = (channel, { channel: origin, tree: name = origin }) => channel === name
  || (isPattern({ channel }) && name.startsWith(channel.slice(0, -2)) && !name.slice(channel.length - 3).includes('/$'));

/**
 * Of `options`, `token(why)` promises one; `hint` is the transport to begin with. What is returned: want(wishes) says which subscriptions,
 * {channel, more: {as, info, policy}}, there shall be from now on (the first of a channel counts); wake(hasNetworkChanged) that the connection may be dead, or the network
 * back; close() ends it.
 */
export function openEngine({ base: home, transports, hint, table = TRANSPORTS, ...options }, tell) {
  const { heartbeat, token } = options;
  const feeds = new Map(); // by channel: a wish with `places`, and without `since` once it is open
  const sessions = new Set(); // the one that is open, and those that are tried
  let timer; // what comes next: another transport, another round, or a look whether something has come
  let base = home; // or where a server that stops has sent us
  let first = transports.includes(hint) ? hint : transports[0]; // the transport with which one begins
  let queue = []; // of transports still to be tried
  let current; // the session that has opened
  let state = 'idle';
  let rounds = 0; // in which no transport opened
  let cuts = 0; // of connections in a row, soon after they had opened
  let retryMs = 0;
  let heardAt;

  const all = () => [...feeds.values()];
  const rank = ({ name }) => transports.indexOf(name);

  const after = (ms, call) => {
    clearTimeout(timer);
    timer = setTimeout(call, ms);
  };

  const show = (next, more) => {
    state = next;
    tell({ state, transport: current?.name, base, ...more });
  };

  const place = (feed) => {
    tell({ channel: feed.channel, cursor: String(feed.places), from: feed.since });
    feed.since = undefined;
  };

  const discard = (one) => {
    clearTimeout(one.timer);
    sessions.delete(one);
    one.ending.abort();
  };

  /** Ends what is open and what is tried. */
  const drop = () => {
    clearTimeout(timer);
    sessions.forEach(discard);
    current = undefined;
  };

  const rest = (next) => {
    drop();
    if (state !== next) show(next);
  };

  /** Tries the transports in their order, the one that worked last before all. */
  const connect = () => {
    rest('connecting');
    queue = [...new Set([first, ...transports])];
    next();
  };

  const next = (fault) => {
    const name = queue.shift();
    if (name) {
      after(STAGGER_MS, next);
      open(name);
    } else if (fault && !sessions.size) {
      wait(fault);
    }
  };

  const wait = (fault) => {
    if (!current) rounds++;
    base = fault.where ? fault.where + home.replace(/.*?\/\/[^/]*/, '') : current ? base : home;
    drop();
    const delay = (fault.retryAfter || retryMs || Math.min(DELAY_MAX_MS, DELAY_MS * 2 ** rounds)) * (1 + Math.random() / 2);
    retryMs = 0;
    show('lost', { fault, delay });
    after(delay, connect);
  };

  const fail = (one, fault) => {
    const { kind, code } = fault;
    if (!sessions.has(one)) return;
    discard(one);
    if (kind === 'blocked' && one !== current) return next(fault);
    cuts = Date.now() - one.opening < SHORT_MS ? cuts + 1 : 0;
    if (cuts >= SHORT_MAX) first = transports[(rank(one) + 1) % transports.length];
    if (kind === 'token') token(code).catch(() => {});
    if (isFinal(fault)) tell({ fault });
    wait(fault);
  };

  const open = (name) => {
    const ending = new AbortController();
    const one = { ...options, name, base, feeds: all, signal: ending.signal, ending };
    sessions.add(one);
    one.timer = setTimeout(() => fail(one, makeFault(`silent ${name}`)), OPENING_MS * (rounds ? SLOW : 1));
    table[name](one, (said, list) => { if (sessions.has(one)) hear(one, said, list); }).catch(asFault).then((fault) => fail(one, fault ?? makeFault()));
  };

  /** It works: it takes the place of a worse one, and only better ones are still waited for. */
  const choose = (one) => {
    clearTimeout(one.timer);
    current = one;
    first = one.name;
    queue = [];
    for (const other of sessions) if (rank(other) > rank(one)) discard(other);
    rounds = 0;
    one.opening = heardAt = Date.now();
    watch();
    show('open');
  };

  const hear = (one, { op, ref, cursor, retry, ...said }, list = all().filter((feed) => feed.ref === ref)) => {
    const { channel, reason, reset: told = reason ? { ...said, cursor } : said } = said;
    if (said.message) {
      const fault = readFault(said);
      if (one.say && fault.kind === 'final') tell({ channel: channel ?? list[0]?.channel, fault });
      else fail(one, fault);
      return;
    }
    if (one !== current && (op || cursor)) choose(one);
    if (one !== current) return;
    heardAt = Date.now();
    if (retry) retryMs = +retry;
    if (told.id || told.reason) {
      for (const feed of all()) if (covers(feed.channel, told)) feed.places.take(told.cursor ?? told.id, told.reason);
      tell({ told });
    } else if (cursor) {
      /* Entries come in the order of the channels; only those below NAME/** are not known by it. */
      cursor.split('.').forEach((entry, at) => (list.find(({ places }) => places.find(entry)) ?? list.find(isPattern) ?? list[at])?.places.take(entry));
      list.forEach(place);
    }
  };

  const watch = () => after(heartbeat / 2, () => {
    const silence = Date.now() - heardAt;
    if (silence >= LOST_HEARTBEATS * heartbeat) return fail(current, makeFault());
    if (silence >= heartbeat) current.say?.('ping');
    watch();
  });

  return {
    want(wishes) {
      const gone = new Map(feeds);
      const come = [];
      feeds.clear();
      for (const wish of wishes) {
        const { channel } = wish;
        let feed = feeds.get(channel) ?? gone.get(channel);
        if (!feed) {
          feed = { ...wish, since: 'now', places: makePlaces() };
          come.push(feed);
        }
        if (!feed.since) place(feed);
        gone.delete(channel);
        feeds.set(channel, feed);
      }
      if (!feeds.size) {
        rest('idle');
      } else if (current?.say && sessions.size < 2) {
        for (const channel of gone.keys()) current.say('unsubscribe', { channel });
        come.forEach(current.attach);
      } else if (gone.size + come.length && state !== 'lost') {
        connect();
      }
    },

    wake(hasNetworkChanged) {
      if (state === 'lost' || (hasNetworkChanged && feeds.size)) {
        rounds = 0;
        connect();
      } else {
        heardAt = Math.min(heardAt, Date.now() - heartbeat); // what is dead is found sooner
      }
    },

    close() {
      feeds.clear();
      drop();
    },
  };
}
