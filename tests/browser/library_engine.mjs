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

const settle = async () => { for (let turn = 0; turn < 20; turn++) await null; };
const pass = async (ms) => { for (let rest = ms; rest > 0; rest -= 50) { mock.timers.tick(Math.min(rest, 50)); await settle(); } };

/* An engine of which every attempt to open a transport ends up in `opened`. */
async function begin({ transports = ALL, since = 'now', token = async () => undefined, ...options } = {}) {
  const bench = { opened: [], told: [] };
  const table = Object.fromEntries(ALL.map((name) => [name, (wish, on) => {
    const attempt = { name, wish, on, isClosed: false, asked: [], pings: 0 };
    bench.opened.push(attempt);
    const commands = { renew: (given) => attempt.asked.push(given), subscribe: (feed) => attempt.asked.push(feed), unsubscribe() {}, ping() { attempt.pings++; } };
    return { close() { attempt.isClosed = true; }, ...(name === 'websocket' && commands) };
  }]));
  bench.engine = openEngine({ base: 'http://x', heartbeat: 15000, transports, token, ...options }, (event) => bench.told.push(event), table);
  bench.engine.want([{ channel: 'a', since }]);
  bench.names = () => bench.opened.map(({ name }) => name);
  bench.last = () => bench.opened.at(-1);
  bench.state = () => bench.told.filter(({ op }) => op === 'state').at(-1);
  bench.open = async (attempt = bench.last()) => {
    attempt.on.opened();
    attempt.on.stands(CURSOR, attempt.name === 'websocket' ? attempt.wish.feeds[0] : undefined);
    await settle();
  };
  bench.end = async (fault = blocked(), attempt = bench.last()) => { attempt.on.ended(fault); await settle(); };
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
  assert.equal(bench.state().delay, 500);
  await pass(500);
  assert.equal(bench.last().name, 'sse');
  assert.equal(bench.last().wish.since, CURSOR);
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
  assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
});

test('Retry-After and retry: are waited for, and the transport is kept', async () => {
  const bench = await begin();
  await bench.end();
  await bench.end(busy(60000));
  assert.equal(bench.state().delay, 75000); // a quarter more at most
  await pass(75000);
  await bench.open();
  await bench.end();
  await pass(1000);
  await bench.end(busy());
  const told = await begin({ transports: ['sse'] });
  await told.open();
  told.last().on.retry(2700);
  await told.end();
  assert.equal(told.state().delay, 2700);
});

test('a server that stops says where to go on, until nothing opens there', async () => {
  const bench = await begin({ base: 'http://x/push', transports: ['poll'] });
  await bench.open();
  await bench.end(makeFault('stops', 'stopping', 0, 2000, 'https://y/'));
  assert.deepEqual([bench.state().delay, bench.state().base], [2500, 'https://y/push']);
  await pass(2500);
  assert.equal(bench.last().wish.base, 'https://y/push');
  await bench.end();
  await pass(bench.state().delay);
  assert.equal(bench.last().wish.base, 'http://x/push');
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
  assert.ok(bench.last().pings > 0);
  assert.equal(bench.state().state, 'open');
  await pass(8000);
  assert.ok(bench.told.some(({ state }) => state === 'lost'));
});

test('a refused token is asked for again, and one that stays the same is the end', async () => {
  const tokens = ['one', 'two', 'two'];
  const asked = [];
  const bench = await begin({ token: async (why) => { asked.push(why); return tokens.shift(); } });
  assert.equal(bench.last().wish.access.token, 'one');
  await bench.end(makeFault('over', 'token-expired', 401));
  assert.equal(bench.last().wish.access.token, 'two');
  await bench.end(makeFault('over', 'token-expired', 401));
  assert.deepEqual(asked, [undefined, 'token-expired', 'token-expired']);
  assert.equal(bench.told.find(({ op }) => op === 'refused').channel, 'a');
});

test('a token that nears its end is renewed on the open connection', async () => {
  let tokens = 0;
  const bench = await begin({ token: async () => `token ${++tokens}` });
  await bench.open();
  bench.last().on.expires(Date.now() + 40000);
  await pass(19000);
  assert.deepEqual(bench.last().asked, []);
  await pass(2000);
  assert.deepEqual(bench.last().asked, ['token 2']);
  assert.equal(bench.opened.length, 1);
});

test('what is told twice over a change of transport is heard once', async () => {
  const bench = await begin();
  await bench.open();
  const tell = (offset, attempt = bench.last()) => attempt.on.told({ channel: 'a', id: `aaaaabbbbbbb-${offset}` });
  tell(2);
  tell(3);
  await bench.end();
  await pass(500);
  assert.equal(bench.last().wish.feeds[0].start, 'aaaaabbbbbbb-3');
  await bench.open();
  bench.last().on.stands('aaaaabbbbbbb-3', bench.last().wish.feeds[0]);
  for (const offset of [2, 3, 4]) tell(offset);
  tell(5, bench.opened[0]);
  assert.deepEqual(bench.told.filter(({ op }) => op === 'message').map(({ message }) => message.id.slice(13)), ['2', '3', '4']);
});

test('another channel comes by a command over a WebSocket, and by a new request with the joined cursor otherwise', async () => {
  const over = await begin();
  await over.open();
  over.engine.want([{ channel: 'a', since: 'now' }, { channel: 'b', since: 'last=3' }]);
  assert.equal(over.last().asked[0].start, 'last=3');
  const bench = await begin({ transports: ['sse'] });
  await bench.open();
  bench.engine.want([{ channel: 'a', since: 'now' }, { channel: 'b', since: 'now' }]);
  await pass(50);
  assert.equal(bench.opened.length, 2);
  assert.equal(bench.last().wish.since, CURSOR);
  assert.equal(bench.opened[0].isClosed, false);
  bench.last().on.opened();
  bench.last().on.stands(`${CURSOR}.cccccddddddd-7`);
  await settle();
  assert.equal(bench.opened[0].isClosed, true);
  assert.equal(bench.told.filter(({ op, state }) => op === 'state' && state === 'lost').length, 0);
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
