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
import { channelUrl, look, request } from './http.js';
import { SluiceError, lost, readFault } from './fault.js';

/** Of several subscriptions over one request: who one is, and the policy if all want the same. */
function common(feeds) {
  const find = (name) => feeds.find((feed) => feed[name])?.[name];
  const [{ policy }] = feeds;
  const info = find('info');
  return { as: find('as'), info: info && JSON.stringify(info), policy: feeds.every((feed) => feed.policy === policy) ? policy : undefined };
}

const namesOf = (feeds) => feeds.map(({ channel }) => channel);

/** Runs what reads until the signal ends it, and says once how it ended. */
function session(on, read) {
  const ending = new AbortController();
  const { signal } = ending;
  const guarded = {};
  for (const [name, call] of Object.entries(on)) guarded[name] = (...said) => { if (!signal.aborted) call(...said); };
  read(signal, guarded).then(() => lost('the stream has ended'), (fault) => (fault.kind ? fault : lost(fault.message))).then((fault) => {
    guarded.ended(fault);
    ending.abort();
  });
  return { close: () => ending.abort() };
}

function stream(wish, on, parameters, accept, makeReader) {
  return session(on, async (signal, guarded) => {
    const url = channelUrl(wish.base, namesOf(wish.feeds), { ...parameters, since: wish.since, ...common(wish.feeds) });
    const response = await request(url, { ...wish.access, accept, signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const take = makeReader(guarded);
    let rest = '';
    for (let part; !(part = await reader.read()).done;) {
      guarded.heard();
      const lines = (rest + part.value).split('\n');
      rest = lines.pop();
      lines.forEach(take);
    }
  });
}

function open(on, { cursor }) {
  on.opened();
  on.stands(cursor);
}

const sse = (wish, on) => stream(wish, on, { transport: 'sse', format: 'json' }, 'text/event-stream', (guarded) => {
  let fields = {};
  return (line) => {
    const [, name, value] = /^(\w+): ?(.*)/s.exec(line) ?? [];
    if (name) fields[name] = value;
    if (name === 'retry') guarded.retry(Number(value));
    if (line) return;
    const { event, data } = fields;
    fields = {};
    if (!data) return;
    const object = JSON.parse(data);
    if (event === 'subscribed') open(guarded, object);
    else if (event === 'expired') throw readFault(object);
    else guarded.told(event === 'reset' && object.reason ? { reset: object } : object);
  };
});

const ndjson = (wish, on) => stream(wish, on, { transport: 'stream' }, 'application/x-ndjson', (guarded) => (line) => {
  if (!line) return;
  const object = JSON.parse(line);
  if (object.error) throw readFault(object);
  if (object.retry) guarded.retry(object.retry);
  if ('recovered' in object) open(guarded, object);
  else if (object.id || object.reset) guarded.told(object);
});

function poll(wish, on) {
  return session(on, async (signal, guarded) => {
    let { since } = wish;
    for (let wait = 0; !signal.aborted; wait = Math.ceil(wish.heartbeat / 600)) {
      const batch = await look(wish.base, namesOf(wish.feeds), { ...wish.access, ...common(wish.feeds), since, wait, signal });
      guarded.heard();
      since = batch.cursor;
      if (!wait) guarded.opened();
      for (const reset of batch.reset ?? []) guarded.told({ reset });
      batch.messages.forEach(guarded.told);
      guarded.stands(since);
    }
  });
}

function websocket(wish, on) {
  const socket = new WebSocket(`${wish.base.replace(/^http/, 'ws')}/ws`);
  const asked = new Map();
  let refs = 0;

  const say = (command) => { if (socket.readyState === 1) socket.send(JSON.stringify(command)); };
  const subscribe = (feed) => {
    const { channel, start: since, as, info, policy } = feed;
    asked.set(++refs, feed);
    say({ op: 'subscribe', ref: refs, channel, since, as, info, policy });
  };
  const renew = (token) => say({ op: 'auth', token });
  const run = session(on, (signal, guarded) => new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => socket.close());
    socket.onopen = () => {
      if (wish.access.token) renew(wish.access.token);
      else say({ op: 'ping' });
      wish.feeds.forEach(subscribe);
    };
    socket.onmessage = ({ data }) => {
      const object = JSON.parse(data);
      const { op, ref, channel } = object;
      const feed = asked.get(ref);
      asked.delete(ref);
      guarded.heard();
      if (op === 'error') {
        const fault = readFault(object);
        if (fault.kind === 'token' || (fault.kind === 'busy' && feed)) reject(fault);
        else guarded.refused(channel ?? feed?.channel, fault);
        return;
      }
      guarded.opened();
      if (op === 'subscribed') guarded.stands(object.cursor, feed);
      else if (op === 'message') guarded.told(object);
      else if (op === 'reset') guarded.told({ reset: object });
      else if (op === 'authenticated' && object.expires) guarded.expires(object.expires);
    };
    socket.onerror = () => {}; // a close follows
    socket.onclose = ({ code, reason }) => reject(readClose(code, reason));
  }));
  return {
    ...run, renew, subscribe,
    unsubscribe: ({ channel }) => say({ op: 'unsubscribe', channel }),
    ping: () => say({ op: 'ping' }),
  };
}

/* 4401 and 4403 are the server's about the token; 1012 and 1013 pass by themselves. */
function readClose(status, reason) {
  const code = { 1012: 'stopping', 1013: 'memory-limit', 4401: 'token-expired', 4403: 'forbidden-channel' }[status] ?? '';
  return new SluiceError(code, reason || 'the connection was lost', status);
}

export const TRANSPORTS = { websocket, sse, stream: ndjson, poll };
