// SPDX-License-Identifier: MIT
/* The ways to receive. Each is a function of what is wanted and whom to tell, and promises how it ended:
 *
 * session: {base, feeds, since, heartbeat, token, credentials, signal}. feeds() are {channel, places, since, more}, `since` is the cursor that joins
 * them, token() promises one, and `signal` ends it. A transport that takes commands puts say(op, members) and attach(feed) there.
 * hear(object) is told what the server says, which has the same members over all of them: an answer with an `op`, a message, a reset, an error, the cursor up to
 * which everything has been told; {retry}, in ms; or nothing but that it is there.
 */
import { makeFault } from './fault.js';
import { channelUrl, look, request } from './http.js';

let refs = 0;

/** The channels, and of several subscriptions over one request who one is, and the policy if all want the same. */
function common({ feeds, since }) {
  const list = feeds();
  const [{ more: { policy } }] = list;
  const more = Object.assign({ since }, ...list.map((feed) => feed.more));
  if (!list.every((feed) => feed.more.policy === policy)) delete more.policy;
  return [list.map(({ channel }) => channel), more];
}

/* Server-Sent Events and NDJSON are told alike: lines, of which those with an object count. */
const stream = (transport) => async (session, hear) => {
  const [channels, more] = common(session);
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
};

async function poll(session, hear) {
  for (let wait = 0; ; wait = session.heartbeat / 600) {
    const [channels, more] = common(session);
    const { told, cursor, fault } = await look(session.base, channels, { wait, ...more }, session);
    if (!wait) hear({ op: 'polled' });
    told.forEach(hear);
    hear({ cursor: session.since = cursor });
    if (fault) throw fault;
  }
}

const websocket = (session, hear) => new Promise((_, reject) => {
  const socket = new WebSocket(`${session.base.replace(/^http/, 'ws')}/ws`);
  const say = (op, more) => socket.send(JSON.stringify({ op, ...more }));
  const attach = (feed) => {
    const { channel, places, since = session.since, more } = feed;
    say('subscribe', { ref: feed.ref = ++refs, channel, since: String(places) || since, ...more });
  };
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
