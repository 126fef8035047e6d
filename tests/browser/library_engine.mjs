// SPDX-License-Identifier: MIT
// How the client library chooses a transport, waits and goes on, by a clock and transports of the test's own.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, mock, test } from 'node:test';

const { SOURCE_DIR } = process.env;
const source = (name) => import(join(SOURCE_DIR, 'clients/javascript/src', name));
const { openEngine } = await source('engine.js');
const { makeFault } = await source('fault.js');
const ALL = ['websocket', 'sse', 'stream', 'poll'];
const CURSOR = 'aaaaabbbbbbb-1';
const blocked = () => makeFault('the handshake failed');
const busy = (retryAfter) => makeFault('full', 'too-many-connections', 503, retryAfter);

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  mock.method(Math, 'random', () => 1);
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

const since = ({ session }) => session.feeds().flatMap(({ places }) => String(places) || []).join('.');
const settle = async () => { for (let turn = 0; turn < 20; turn++) await null; };
const pass = async (ms) => { for (let rest = ms; rest > 0; rest -= 50) { mock.timers.tick(Math.min(rest, 50)); await settle(); } };

/* An engine of which every session that is tried ends up in `opened`; a `hear` of the test is what its server says. */
async function begin({ transports = ALL, token = async () => undefined, ...options } = {}) {
  const bench = { opened: [], told: [] };
  const table = Object.fromEntries(ALL.map((name) => [name, (session, tell) => {
    const hear = (said) => tell(said, name === 'websocket' ? undefined : session.feeds());
    const attempt = { name, session, hear, said: [], get isClosed() { return session.signal.aborted; } };
    const attach = (feed) => { feed.ref = ++bench.refs; attempt.said.push(['subscribe', feed]); };
    bench.opened.push(attempt);
    if (name === 'websocket') {
      Object.assign(session, { attach, say: (op, more) => attempt.said.push([op, more]) });
      session.feeds().forEach(attach);
    }
    return new Promise((_, reject) => { attempt.end = reject; });
  }]));
  bench.refs = 0;
  bench.engine = openEngine({ base: 'http://x', heartbeat: 15000, transports, token, table, ...options }, (event) => bench.told.push(event));
  bench.engine.want([{ channel: 'a', more: {} }]);
  bench.names = () => bench.opened.map(({ name }) => name);
  bench.last = () => bench.opened.at(-1);
  bench.state = () => bench.told.filter(({ state }) => state).at(-1);
  bench.open = async (attempt = bench.last()) => {
    attempt.hear(attempt.name === 'websocket' ? { op: 'subscribed', ref: attempt.session.feeds()[0].ref, cursor: CURSOR } : { recovered: true, cursor: CURSOR });
    await settle();
  };
  bench.end = async (fault = blocked(), attempt = bench.last()) => { attempt.end(fault); await settle(); };
  await settle();
  return bench;
}

test('a handshake that fails moves to the next transport at once', async () => {
  const bench = await begin();
  for (let turn = 0; turn < 3; turn++) await bench.end();
  assert.deepEqual(bench.names(), ALL);
  await bench.open();
  assert.equal(bench.state().transport, 'poll');
});

test('what is silent gets company after a second, and is given up after three', async () => {
  const bench = await begin();
  await bench.end();
  await pass(1000);
  assert.deepEqual(bench.names(), ['websocket', 'sse', 'stream']);
  await pass(1000);
  await bench.open();
  assert.equal(bench.state().transport, 'poll');
  assert.equal(bench.opened[1].isClosed, false);
  await pass(1000);
  assert.equal(bench.opened[1].isClosed, true);
});

test('where every transport is silent the last is tried after three seconds', async () => {
  const bench = await begin();
  await pass(2950);
  assert.deepEqual(bench.names(), ALL.slice(0, 3));
  await pass(50);
  assert.deepEqual(bench.names(), ALL);
});

test('a better transport that opens late takes the place of a worse one', async () => {
  const bench = await begin();
  await pass(1000);
  await bench.open(bench.opened[1]);
  await bench.open(bench.opened[0]);
  assert.equal(bench.state().transport, 'websocket');
  assert.equal(bench.opened[1].isClosed, true);
});

test('a cut of an established one tries the same first, then the others', async () => {
  const bench = await begin();
  await bench.end();
  await bench.open();
  await pass(20000);
  await bench.end();
  assert.equal(bench.state().state, 'lost');
  assert.equal(bench.state().delay, 375);
  await pass(375);
  assert.equal(bench.last().name, 'sse');
  assert.equal(since(bench.last()), CURSOR);
  await bench.end();
  assert.equal(bench.last().name, 'websocket');
});

test('one that is always cut soon is left for the next', async () => {
  const bench = await begin();
  for (let turn = 0; turn < 3; turn++) {
    await bench.open();
    await bench.end();
    await pass(500);
  }
  assert.equal(bench.last().name, 'sse');
});

test('when all fail the wait doubles, up to half a minute', async () => {
  const bench = await begin({ transports: ['poll'] });
  const delays = [];
  for (let turn = 0; turn < 8; turn++) {
    await bench.end();
    delays.push(bench.state().delay);
    await pass(delays.at(-1));
  }
  assert.deepEqual(delays, [750, 1500, 3000, 6000, 12000, 24000, 30000, 30000]);
});

test('Retry-After and retry: are waited for, and the transport is kept', async () => {
  const bench = await begin();
  await bench.end();
  await bench.end(busy(60000));
  assert.equal(bench.state().delay, 90000); // half as much again at most
  await pass(90000);
  assert.equal(bench.last().name, 'websocket');
  const told = await begin({ transports: ['sse'] });
  await told.open();
  told.last().hear({ retry: '2700' });
  await told.end();
  assert.equal(told.state().delay, 4050);
});

test('a server that stops says where to go on, until nothing opens there', async () => {
  const bench = await begin({ base: 'http://x/push', transports: ['poll'] });
  await bench.open();
  await bench.end(makeFault('stops', 'stopping', 0, 2000, 'https://y'));
  assert.deepEqual([bench.state().delay, bench.state().base], [3000, 'https://y/push']);
  await pass(3000);
  assert.equal(bench.last().session.base, 'https://y/push');
  await bench.end();
  await pass(bench.state().delay);
  assert.equal(bench.last().session.base, 'http://x/push');
});

test('the transport that worked last for this network is tried first', async () => {
  const bench = await begin({ hint: 'stream' });
  assert.equal(bench.last().name, 'stream');
  await bench.end();
  assert.equal(bench.last().name, 'websocket');
});

test('after two and a half heartbeats of silence the connection is lost; a WebSocket is asked before', async () => {
  const bench = await begin();
  await bench.open();
  await pass(30000);
  assert.ok(bench.last().said.some(([op]) => op === 'ping'));
  assert.equal(bench.state().state, 'open');
  await pass(8000);
  assert.ok(bench.told.some(({ state }) => state === 'lost'));
});

test('a refused token is asked for again, and whom it does not help finds out', async () => {
  const asked = [];
  const bench = await begin({ token: async (why) => { asked.push(why); return why; } });
  await bench.open();
  const fault = makeFault('over', 'token-expired', 4401);
  await bench.end(fault);
  assert.deepEqual(asked, ['token-expired']);
  assert.deepEqual(bench.told.filter((event) => event.fault && !event.state), [{ fault }]);
  await pass(bench.state().delay);
  assert.equal(bench.opened.length, 2);
});

test('a channel that is refused is told, and the connection stays', async () => {
  const bench = await begin();
  await bench.open();
  bench.last().hear({ op: 'error', ref: bench.refs, code: 'forbidden-channel', message: 'no' });
  const [{ channel, fault }] = bench.told.filter((event) => event.fault);
  assert.deepEqual([channel, fault.code, bench.state().state], ['a', 'forbidden-channel', 'open']);
});

test('over a change of transport it goes on behind what has been told', async () => {
  const bench = await begin();
  await bench.open();
  const tell = (offset, attempt = bench.last()) => attempt.hear({ op: 'message', channel: 'a', id: `aaaaabbbbbbb-${offset}` });
  tell(2);
  tell(3);
  await bench.end();
  await pass(bench.state().delay);
  assert.equal(since(bench.last()), 'aaaaabbbbbbb-3');
  await bench.open();
  tell(4);
  tell(5, bench.opened[0]); // which is over
  assert.deepEqual(bench.told.filter(({ told }) => told).map(({ told }) => told.id.slice(13)), ['2', '3', '4']);
});

test('another channel comes by a command over a WebSocket, and by a new request with the joined cursor otherwise', async () => {
  const over = await begin();
  await over.open();
  over.engine.want([{ channel: 'a', more: {} }, { channel: 'b', more: { as: 'me' } }]);
  assert.deepEqual(over.last().said.map(([op, { channel }]) => `${op} ${channel}`), ['subscribe a', 'subscribe b']);
  over.engine.want([{ channel: 'b', more: { as: 'me' } }]);
  assert.deepEqual(over.last().said.at(-1), ['unsubscribe', { channel: 'a' }]);
  const bench = await begin({ transports: ['sse'] });
  await bench.open();
  bench.engine.want([{ channel: 'a', more: {} }, { channel: 'b', more: {} }]);
  await settle();
  assert.equal(bench.opened.length, 2);
  assert.equal(since(bench.last()), CURSOR);
  assert.equal(bench.opened[0].isClosed, true);
  bench.last().hear({ recovered: true, cursor: `${CURSOR}.cccccddddddd-7` });
  assert.deepEqual(bench.told.slice(-2), [{ channel: 'a', cursor: CURSOR, from: undefined }, { channel: 'b', cursor: 'cccccddddddd-7', from: 'now' }]);
  assert.equal(bench.told.filter(({ state }) => state === 'lost').length, 0);
});

test('the network coming back, or the page, ends a wait', async () => {
  const bench = await begin({ transports: ['poll'] });
  for (let turn = 0; turn < 6; turn++) {
    await bench.end();
    if (turn < 5) await pass(bench.state().delay);
  }
  const { length } = bench.opened;
  bench.engine.wake(true);
  await settle();
  assert.equal(bench.opened.length, length + 1);
});
