// SPDX-License-Identifier: MIT
/* One connection for any number of channels: chooses the transport, goes on after every loss with the cursor, watches that something comes.
 *
 * It tells by `tell(event)`, event being
 * {op: 'state', state: 'idle' | 'connecting' | 'open' | 'lost' | 'closed', transport, fault, delay}
 * {op: 'subscribed', channel, cursor, from}: the channel's feed stands there; `from` at its first opening only, where it was to begin
 * {op: 'message', message}, {op: 'reset', reset}
 * {op: 'refused', channel, fault}: the channel is not to be had
 */
import { Places, isCursor } from './cursor.js';
import { lost } from './fault.js';
import { look } from './http.js';
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

export class Engine {
  #options; // {base, transports, heartbeat, credentials, hint, token(why): Promise}
  #tell;
  #table;
  #feeds = new Map(); // by channel: {channel, since, as, info, policy, places, isOpen}
  #token;
  #current = null; // the attempt that has opened
  #attempts = new Set();
  #queue = []; // of names of transports still to be tried
  #first; // the transport with which one begins
  #faults = 0; // rounds in which no transport opened
  #short = 0; // connections in a row that were cut soon
  #denied = 0;
  #retryMs = 0;
  #heard = 0;
  #timers = {};
  #state = 'idle';

  constructor(options, tell, table = TRANSPORTS) {
    this.#options = options;
    this.#tell = tell;
    this.#table = table;
    this.#first = options.transports.includes(options.hint) ? options.hint : options.transports[0];
  }

  /** From now on these subscriptions, {channel, since, as, info, policy}, are wanted; the first of a channel counts. */
  want(wishes) {
    const gone = [...this.#feeds.values()].filter(({ channel }) => !wishes.some((wish) => wish.channel === channel));
    const come = [];
    for (const feed of gone) this.#feeds.delete(feed.channel);
    for (const wish of wishes) {
      const feed = this.#feeds.get(wish.channel);
      if (feed?.isOpen) this.#tell({ op: 'subscribed', channel: wish.channel, cursor: String(feed.places) });
      if (feed) continue;
      const added = { ...wish, places: new Places(isCursor(wish.since) ? wish.since : '') };
      this.#feeds.set(wish.channel, added);
      come.push(added);
    }
    if (!this.#feeds.size) this.#rest('idle');
    else if (this.#state === 'idle') this.#connect();
    else if (gone.length + come.length) this.#change(gone, come);
  }

  /** Something has changed that may have ended the connection, or brought the network back. */
  wake(hasNetworkChanged) {
    if (this.#state === 'lost') {
      this.#faults = 0;
      this.#connect();
    } else if (this.#current?.ping) {
      const asked = Date.now();
      this.#current.ping();
      this.#set('probe', () => { if (this.#heard < asked) this.#lose(lost()); }, PROBE_MS);
    } else if (this.#current && hasNetworkChanged) {
      this.#reopen();
    }
  }

  close() {
    this.#feeds.clear();
    this.#rest('closed');
  }

  #set(name, call, ms) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(call, ms);
  }

  #show(state, more = {}) {
    this.#state = state;
    this.#tell({ op: 'state', state, transport: this.#current?.name, ...more });
  }

  #rest(state) {
    this.#drop();
    if (this.#state !== state) this.#show(state);
  }

  /** Ends what is open and what is tried. */
  #drop() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    for (const attempt of this.#attempts) this.#discard(attempt);
    this.#current?.session.close();
    this.#current = null;
    this.#queue = [];
  }

  #discard(attempt) {
    clearTimeout(attempt.timer);
    this.#attempts.delete(attempt);
    attempt.isOver = true;
    attempt.session?.close();
  }

  #rank(name) {
    return this.#options.transports.indexOf(name);
  }

  /** Tries the transports in their order, the one that worked last before all. */
  #connect() {
    this.#drop();
    if (this.#state !== 'connecting') this.#show('connecting');
    this.#queue = [...new Set([this.#first, ...this.#options.transports])];
    this.#next();
  }

  #next() {
    const name = this.#queue.shift();
    clearTimeout(this.#timers.stagger);
    if (name) {
      this.#set('stagger', () => this.#next(), STAGGER_MS);
      this.#attempt(name);
    } else if (!this.#attempts.size && !this.#current) {
      this.#faults++;
      this.#wait(this.#lastFault);
    }
  }

  #lastFault;

  /** Where each feed goes on, and the cursor that joins them. */
  #starts() {
    const feeds = [...this.#feeds.values()];
    const joined = new Places();
    for (const feed of feeds) feed.start = String(feed.places) || feed.since;
    for (const feed of feeds.sort((a, b) => !!a.isOpen - !!b.isOpen)) joined.take(String(feed.places));
    return { feeds: [...this.#feeds.values()], since: String(joined) || (feeds.length > 1 ? '' : feeds[0].since) };
  }

  async #attempt(name) {
    const attempt = { name };
    const { base, heartbeat, credentials } = this.#options;
    this.#attempts.add(attempt);
    attempt.timer = setTimeout(() => this.#fail(attempt, lost(`nothing comes over ${name}`)), OPENING_MS * Math.min(4, 2 ** this.#faults));
    try {
      this.#token ??= await this.#options.token();
      const access = { token: this.#token, credentials };
      if (name !== 'websocket' && this.#feeds.size > 1) await this.#begin(access);
      if (attempt.isOver) return;
      const { feeds, since } = this.#starts();
      attempt.feeds = feeds;
      attempt.session = this.#table[name]({ base, heartbeat, access, feeds, since }, this.#listen(attempt));
      attempt.ping = attempt.session.ping;
    } catch (fault) {
      this.#fail(attempt, fault.kind ? fault : lost(fault.message));
    }
  }

  /** In one request with others a channel without a cursor begins now: what is wanted of it before that is looked at first. */
  async #begin(access) {
    for (const feed of this.#feeds.values()) {
      if (String(feed.places) || feed.since === 'now') continue;
      const { messages, cursor } = await look(this.#options.base, [feed.channel], { ...access, since: feed.since }).catch((fault) => {
        if (fault.kind !== 'final') throw fault;
        this.#refuse(feed.channel, fault);
        return { messages: [], cursor: '' };
      });
      this.#opened(feed);
      messages.forEach((message) => this.#take(message));
      feed.places.take(cursor);
    }
  }

  #opened(feed) {
    if (!feed.isOpen) this.#tell({ op: 'subscribed', channel: feed.channel, cursor: String(feed.places), from: feed.since });
    feed.isOpen = true;
  }

  #listen(attempt) {
    const isCurrent = () => this.#current === attempt;
    return {
      heard: () => { if (isCurrent()) this.#heard = Date.now(); },
      opened: () => { if (!isCurrent()) this.#choose(attempt); },
      stands: (cursor, feed) => { if (isCurrent()) this.#stand(cursor, feed ? [feed] : attempt.feeds); },
      told: (object) => { if (isCurrent()) this.#take(object); },
      expires: (ms) => this.#renewAt(ms),
      retry: (ms) => { this.#retryMs = ms; },
      refused: (channel, fault) => this.#refuse(channel, fault),
      ended: (fault) => { if (isCurrent()) this.#lose(fault); else this.#fail(attempt, fault); },
    };
  }

  /** The attempt works: it takes the place of a worse one, and only better ones are still waited for. */
  #choose(attempt) {
    clearTimeout(attempt.timer);
    this.#attempts.delete(attempt);
    this.#current?.session.close();
    this.#current = attempt;
    this.#queue = [];
    for (const other of this.#attempts) if (this.#rank(other.name) >= this.#rank(attempt.name)) this.#discard(other);
    this.#first = attempt.name;
    this.#faults = 0;
    this.#denied = 0;
    attempt.since = this.#heard = Date.now();
    clearTimeout(this.#timers.stagger);
    this.#watch();
    if (attempt.name !== 'websocket') attempt.feeds.forEach((feed) => this.#opened(feed));
    this.#show('open');
  }

  /* Entries come in the order of the channels; only those below NAME/** are not known by it. */
  #stand(cursor, feeds) {
    const entries = cursor.split('.');
    const pattern = feeds.find(({ channel }) => channel.endsWith('/**'));
    if (feeds.length === 1) {
      feeds[0].places.become(cursor);
    } else if (!pattern && entries.length === feeds.length) {
      entries.forEach((entry, at) => feeds[at].places.become(entry));
    } else {
      for (const entry of entries) (feeds.find(({ places }) => places.knows(entry)) ?? pattern)?.places.take(entry);
    }
    for (const feed of feeds) {
      if (feed.isOpen) this.#tell({ op: 'subscribed', channel: feed.channel, cursor: String(feed.places) });
      else this.#opened(feed);
    }
  }

  #take({ reset, op, cursor, ...message }) {
    const { id } = message;
    const name = reset?.channel ?? message.tree ?? message.channel;
    const feeds = [...this.#feeds.values()].filter(({ channel }) => covers(channel, name));
    if (!feeds.length || (message.stored !== false && id && feeds.some(({ places }) => places.has(id)))) return;
    for (const { places } of feeds) places.take(reset?.cursor ?? id, !!reset);
    this.#tell(reset ? { op: 'reset', reset } : { op: 'message', message });
  }

  #watch() {
    const limit = this.#options.heartbeat;
    this.#set('watch', () => {
      const silence = Date.now() - this.#heard;
      if (silence >= LOST_HEARTBEATS * limit) return this.#lose(lost('nothing has been heard of the server'));
      if (silence >= limit) this.#current.ping?.();
      this.#watch();
    }, limit / 2);
  }

  #change(gone, come) {
    const session = this.#current?.session;
    if (session?.subscribe) {
      this.#starts();
      gone.forEach(session.unsubscribe);
      come.forEach(session.subscribe);
    } else if (session) {
      this.#set('reopen', () => this.#reopen(), 0);
    } else if (this.#attempts.size) {
      this.#connect();
    }
  }

  /** Opens the same transport anew beside the one that is open, which it then takes the place of. */
  #reopen() {
    for (const attempt of this.#attempts) this.#discard(attempt);
    if (this.#current) this.#attempt(this.#current.name);
  }

  #fail(attempt, fault) {
    if (attempt.isOver) return;
    this.#discard(attempt);
    this.#lastFault = fault;
    if (fault.kind !== 'blocked') this.#judge(fault);
    else if (!this.#current) this.#next();
    else if (attempt.name === this.#current.name) this.#lose(fault);
  }

  #lose(fault) {
    const { name, since } = this.#current;
    this.#short = Date.now() - since < SHORT_MS ? this.#short + 1 : 0;
    if (this.#short >= SHORT_MAX) {
      const { transports } = this.#options;
      this.#short = 0;
      this.#first = transports[(this.#rank(name) + 1) % transports.length];
    }
    this.#drop();
    this.#judge(fault);
  }

  /** What to do about a fault that is not the transport's. */
  #judge(fault) {
    if (fault.kind === 'token' && this.#denied++ < DENIED_MAX) {
      this.#drop();
      this.#show('lost', { fault, delay: 0 });
      return this.#ask(fault);
    }
    if (fault.kind === 'token' || fault.kind === 'final') return this.#sift(fault);
    return this.#wait(fault);
  }

  async #ask(fault) {
    const former = this.#token;
    this.#token = await this.#options.token(fault.code).catch(() => former);
    if (this.#state !== 'lost') return;
    if (!this.#token || this.#token === former) this.#refuseAll(fault);
    else this.#connect();
  }

  /** Of several channels those that are refused are left out. */
  async #sift(fault) {
    this.#drop();
    const { base, credentials } = this.#options;
    const feeds = [...this.#feeds.values()];
    if (feeds.length === 1 || fault.kind === 'token') return this.#refuseAll(fault);
    for (const { channel } of feeds) {
      await look(base, [channel], { token: this.#token, credentials, since: 'now' }).catch((refusal) => {
        if (refusal.kind === 'final') this.#refuse(channel, refusal);
      });
    }
    if (this.#feeds.size === feeds.length) this.#refuseAll(fault);
    else if (this.#feeds.size) this.#connect();
  }

  #refuse(channel, fault) {
    if (!this.#feeds.delete(channel)) return;
    this.#tell({ op: 'refused', channel, fault });
    if (!this.#feeds.size) this.#rest('idle');
  }

  #refuseAll(fault) {
    for (const channel of [...this.#feeds.keys()]) this.#refuse(channel, fault);
  }

  #wait(fault) {
    this.#drop();
    const backOff = Math.min(DELAY_MAX_MS, Math.max(DELAY_MS, this.#retryMs) * 2 ** Math.min(this.#faults, 10)) * (0.5 + Math.random() / 2);
    const delay = fault.retryAfter ? fault.retryAfter * (1 + Math.random() / 4) : backOff;
    this.#retryMs = 0;
    if (fault.kind === 'busy') this.#faults++;
    this.#show('lost', { fault, delay });
    this.#set('again', () => this.#connect(), delay);
  }

  #renewAt(ms) {
    const rest = ms - Date.now();
    this.#set('renew', async () => {
      this.#token = await this.#options.token('expires').catch(() => this.#token);
      this.#current?.session.renew?.(this.#token);
    }, Math.min(Math.max(rest - RENEW_MS, rest / 2), 2 ** 31 - 1));
  }
}
