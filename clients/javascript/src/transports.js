// SPDX-License-Identifier: MIT
/* The ways to receive. Each is opened with what is wanted and whom to tell, and gives what ends it:
 *
 * wish: {base, feeds, since, access, heartbeat}. `feeds` are {channel, start, as, info, policy}, `start` being where this one goes on and
 * `since` the cursor that joins them; `access` is {token, credentials}.
 * on.heard(): something has come, perhaps a heartbeat.
 * on.opened(): it works.
 * on.stands(cursor, feed): everything up to there has been told, of all feeds or of the one.
 * on.told(object): a message, or {reset}.
 * on.expires(ms), on.retry(ms): when the token is over; how long to wait after the end.
 * on.refused(channel, fault): the one channel is not to be had.
 * on.ended(fault): once, and nothing is told behind it.
 */
import { asFault, makeFault, readFault } from './fault.js';
import { channelUrl, look, request } from './http.js';

const namesOf = (feeds) => feeds.map(({ channel }) => channel);

/** Of several subscriptions over one request: who one is, and the policy if all want the same. */
function common(feeds) {
  const find = (name) => feeds.find((feed) => feed[name])?.[name];
  const info = find('info');
  const policy = find('policy');
  return { as: find('as'), info: info && JSON.stringify(info), policy: feeds.every((feed) => feed.policy === policy) ? policy : '' };
}

/** Runs what reads until it is closed, and says once how it ended. */
function session(on, read) {
  const ending = new AbortController();
  const { signal } = ending;
  const guarded = {};
  for (const name in on) guarded[name] = (...said) => { if (!signal.aborted) on[name](...said); };
  read(signal, guarded).catch(asFault).then((fault) => {
    guarded.ended(fault ?? makeFault('the stream has ended'));
    ending.abort();
  });
  return { close: () => ending.abort() };
}

/** What the server says, which has the same members over all transports: an opening, a reset, a message, or an error, which is thrown. */
function hear(on, object, feed) {
  if (object.error) throw readFault(object);
  if ('recovered' in object) {
    on.opened();
    on.stands(object.cursor, feed);
  } else if (object.reason) {
    on.told({ reset: object });
  } else if (object.id || object.reset) {
    on.told(object);
  }
}

/* Server-Sent Events and NDJSON are told alike: lines, of which those with an object count. */
const stream = (parameters, accept) => (wish, on) => session(on, async (signal, guarded) => {
  const { feeds, since } = wish;
  const response = await request(channelUrl(wish.base, namesOf(feeds), { ...parameters, since, ...common(feeds) }), { ...wish.access, accept, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (let part; !(part = await reader.read()).done;) {
    guarded.heard();
    const lines = (rest + part.value).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const [, name, text] = /^(data: |retry: |)([{\d].*)/s.exec(line) ?? [];
      if (name === 'retry: ') guarded.retry(Number(text));
      else if (text) hear(guarded, JSON.parse(text));
    }
  }
});

const poll = (wish, on) => session(on, async (signal, guarded) => {
  let { since } = wish;
  for (let wait = 0; !signal.aborted; wait = Math.ceil(wish.heartbeat / 600)) {
    const batch = await look(wish.base, namesOf(wish.feeds), { ...wish.access, ...common(wish.feeds), since, wait, signal });
    guarded.heard();
    since = batch.cursor;
    if (!wait) guarded.opened();
    batch.reset?.forEach((reset) => guarded.told({ reset }));
    batch.messages.forEach(guarded.told);
    guarded.stands(since);
    if (batch.fault) throw batch.fault;
  }
});

/** The server's about the token, and what passes by itself. */
const CLOSES = { 1012: 'stopping', 1013: 'memory-limit', 4401: 'token-expired', 4403: 'forbidden-channel' };

function websocket(wish, on) {
  const socket = new WebSocket(`${wish.base.replace(/^http/, 'ws')}/ws`);
  const asked = new Map();
  let refs = 0;

  const say = (op, more) => { if (socket.readyState === 1) socket.send(JSON.stringify({ op, ...more })); };
  const ping = () => say('ping');
  const renew = (token) => say('auth', { token });
  const subscribe = (feed) => {
    const { channel, start: since, as, info, policy } = feed;
    asked.set(++refs, feed);
    say('subscribe', { ref: refs, channel, since, as, info, policy });
  };
  const run = session(on, (signal, guarded) => new Promise((_, reject) => {
    signal.onabort = () => socket.close();
    socket.onopen = () => {
      if (wish.access.token) renew(wish.access.token);
      else ping();
      wish.feeds.forEach(subscribe);
    };
    socket.onmessage = ({ data }) => {
      const { op, ...object } = JSON.parse(data);
      const feed = asked.get(object.ref);
      asked.delete(object.ref);
      guarded.heard();
      if (op === 'error') {
        const fault = readFault(object);
        if (fault.kind === 'token' || (fault.kind === 'busy' && feed)) reject(fault);
        else guarded.refused(object.channel ?? feed?.channel, fault);
        return;
      }
      guarded.opened();
      hear(guarded, object, feed);
      if (object.expires) guarded.expires(object.expires);
    };
    socket.onerror = () => {}; // a close follows
    socket.onclose = ({ code, reason }) => {
      const [, seconds = 0, where] = / after ([\d.]+) s(?:, at (\S+))?$/.exec(reason) ?? [];
      reject(makeFault(reason || undefined, CLOSES[code], code, seconds * 1000, where));
    };
  }));
  return { ...run, renew, subscribe, ping, unsubscribe: ({ channel }) => say('unsubscribe', { channel }) };
}

export const TRANSPORTS = {
  websocket,
  sse: stream({ transport: 'sse', format: 'json' }, 'text/event-stream'),
  stream: stream({ transport: 'stream' }, 'application/x-ndjson'),
  poll,
};
