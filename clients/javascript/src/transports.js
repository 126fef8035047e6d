// SPDX-License-Identifier: MIT
/* The ways to receive. Each is a function of what is wanted and whom to tell, and promises how it ended:
 *
 * session: {base, feeds, heartbeat, token, credentials, signal}. feeds() are {channel, places, more}, token() promises one, and `signal` ends it.
 * A transport that takes commands puts say(op, members) and attach(feed) there.
 * hear(object, feeds) is told what the server says, which has the same members over all of them: an answer with an `op`, a message, a reset, an error, the cursor up to
 * which everything has been told; {retry}, in ms; or nothing but that it is there. `feeds` are those that are meant, where no `ref` says it.
 */
import { makePlaces } from './cursor.js';
import { makeFault } from './fault.js';
import { channelUrl, look, request } from './http.js';

/** As many as the server takes. */
const CHANNELS_MAX = 64;

let refs = 0;

/** The channels, and of several subscriptions over one request who one is, and the policy if all want the same. */
function common(feeds) {
  const { policy } = feeds[0].more;
  const since = String(makePlaces(feeds.map(({ places }) => places).join('.'))) || 'now';
  const more = Object.assign({ since }, ...feeds.map((feed) => feed.more));
  if (!feeds.every((feed) => feed.more.policy === policy)) delete more.policy;
  return [feeds.map(({ channel }) => channel), more];
}

/** As many requests as the channels need. */
const requests = (receive) => (session, hear) => {
  const parts = [];
  for (const feeds = session.feeds(); feeds.length;) parts.push(feeds.splice(0, CHANNELS_MAX));
  return Promise.race(parts.map((feeds) => receive(session, (said) => hear(said, feeds), feeds)));
};

/* Server-Sent Events and NDJSON are told alike: lines, of which those with an object count. */
const stream = (transport) => requests(async (session, hear, feeds) => {
  const [channels, more] = common(feeds);
  const { body } = await request(channelUrl(session.base, channels, { transport, format: 'json', ...more }), session);
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (let part; !(part = await reader.read()).done;) {
    const lines = (rest + part.value).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const [, retry, text = '{}'] = /^(?:retry: (\d+)|(?:data: )?({.*))/.exec(line) ?? [];
      hear({ retry, ...JSON.parse(text) });
    }
  }
});

const poll = requests(async (session, hear, feeds) => {
  for (let wait = 0; ; wait = session.heartbeat / 600) {
    const [channels, more] = common(feeds);
    const { told, cursor, fault } = await look(session.base, channels, { wait, ...more }, session);
    hear({ op: 'poll' });
    told.forEach(hear);
    hear({ cursor });
    if (fault) throw fault;
  }
});

const websocket = (session, hear) => new Promise((_, reject) => {
  const socket = new WebSocket(`${session.base.replace(/^http/, 'ws')}/ws`);
  const say = (op, more) => socket.send(JSON.stringify({ op, ...more }));
  const attach = (feed) => say('subscribe', { ref: feed.ref = ++refs, channel: feed.channel, ...common([feed])[1] });
  Object.assign(session, { say, attach });
  session.signal.onabort = () => socket.close();
  socket.onopen = () => session.token().then((token) => {
    say(token ? 'auth' : 'ping', { token });
    session.feeds().forEach(attach);
  }).catch(reject);
  socket.onmessage = ({ data }) => hear(JSON.parse(data));
  socket.onerror = () => {}; // a close follows
  socket.onclose = ({ code, reason }) => {
    const [, seconds = 0, where] = / after (\S+) s(?:, at (\S+))?$/.exec(reason) ?? [];
    reject(makeFault(reason, code === 4401 ? 'token-expired' : '', code, seconds * 1000, where));
  };
});

export const TRANSPORTS = {
  websocket,
  sse: stream('sse'),
  stream: stream('stream'),
  poll,
};
