// SPDX-License-Identifier: MIT
// What docs/JAVASCRIPT.md and sluice.d.ts say of the client library and nothing else here tries, in node.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createHmac } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { atEnd, kill, publish, start, startRedis, stop, until } from './support.mjs';

const TRANSPORTS = ['websocket', 'sse', 'stream', 'poll'];
const { SOURCE_DIR } = process.env;
const PAGE = readFileSync(join(SOURCE_DIR, 'docs/JAVASCRIPT.md'), 'utf8');
const SECRET = 'a secret of thirty-two bytes or more';
const folder = mkdtempSync(join(tmpdir(), 'sluice-documented-'));
const clients = [];
globalThis.WebSocket ??= WebSocket;
let library;
let server;

before(async () => {
  writeFileSync(join(folder, 'key'), SECRET);
  writeFileSync(join(folder, 'conf'), '[channel "rooms/**"]\npresence = yes\n');
  library = await import(join(SOURCE_DIR, 'static/sluice.js'));
  server = await start(0, ['--config', join(folder, 'conf'), '--presence-grace', '0.3']);
});
after(() => {
  clients.forEach((client) => client.close());
  rmSync(folder, { recursive: true });
});

function open(origin, options) {
  const client = new library.Sluice(origin, options);
  client.told = [];
  client.addEventListener('state', (event) => client.told.push(event));
  clients.push(client);
  return client;
}

function listen(client, channel, options = {}) {
  const heard = [];
  const subscription = client.subscribe(channel, { ...options, onmessage: (message) => heard.push(message) });
  return { heard, subscription, data: () => heard.map(({ data }) => data) };
}

const kindOf = (head) => (/^upgrade: websocket/im.test(head) ? 'websocket' : /^POST/.test(head) ? 'publish' : /text\/event-stream|transport=sse/i.test(head) ? 'sse'
  : /ndjson|transport=stream/i.test(head) ? 'stream' : 'poll');

/* Stands before a server and sees each connection's first request: `decide(kind, head)` may say 'refuse', 'silent', 'buffer' or an answer. */
async function stand(port, decide = () => undefined) {
  const place = { port, decide, seen: [], sockets: new Set() };
  const listener = createServer((client) => {
    place.sockets.add(client);
    client.on('error', () => {}).on('close', () => place.sockets.delete(client));
    let upstream;
    client.on('data', (data) => {
      const head = data.toString('latin1');
      if (upstream && !/^(GET|POST) /.test(head)) { upstream.write(data); return; }
      const entry = { kind: kindOf(head), head, at: performance.now() };
      place.seen.push(entry);
      client.once('close', () => { entry.ended = performance.now(); });
      const what = place.decide(entry.kind, head);
      if (what === 'silent') return;
      if (what === 'refuse') { client.end('HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'); return; }
      if (what && what !== 'buffer') { client.end(what); return; }
      if (!upstream) {
        upstream = connect(place.port, '127.0.0.1').on('error', () => client.destroy()).on('close', () => client.destroy());
        client.on('close', () => upstream.destroy());
        upstream.on('data', (part) => { if (!place.isFrozen && what !== 'buffer') client.write(part); });
      }
      upstream.write(data);
    });
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  place.origin = `http://127.0.0.1:${listener.address().port}`;
  place.cut = () => { for (const socket of place.sockets) socket.destroy(); };
  place.kinds = () => place.seen.map(({ kind }) => kind).filter((kind) => kind !== 'publish');
  atEnd(() => { listener.close(); place.cut(); });
  return place;
}

const isOpen = (client) => until(() => client.state === 'open', 'an open connection');

function sign(claims) {
  const part = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
  const text = `${part({ alg: 'HS256' })}.${part(claims)}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

// What it does.

test('transports are tried in the order of the page, and a handshake that fails is left at once', async () => {
  const place = await stand(server.port, (kind) => (kind === 'poll' ? undefined : 'refuse'));
  const client = open(place.origin);
  listen(client, 'order');
  await isOpen(client);
  assert.equal(client.transport, 'poll');
  assert.deepEqual([...new Set(place.kinds())], TRANSPORTS);
  assert.ok(place.seen.find(({ kind }) => kind === 'poll').at - place.seen[0].at < 3000);
});

test('beside one that is silent the next is tried after a second', async () => {
  const place = await stand(server.port, (kind) => (kind === 'websocket' ? 'silent' : undefined));
  const client = open(place.origin);
  const begun = performance.now();
  listen(client, 'silent');
  await isOpen(client);
  assert.equal(client.transport, 'sse');
  const [first, second] = place.seen;
  assert.equal(first.kind, 'websocket');
  assert.ok(second.at - begun > 950, `${second.at - begun} ms`);
});

test('what worked is tried first for an hour, which pages keep', async () => {
  const place = await stand(server.port, (kind) => (kind === 'websocket' ? 'refuse' : undefined));
  const now = Date.now;
  const firstOf = async () => {
    const before = place.seen.length;
    const client = open(place.origin);
    listen(client, 'remembered');
    await isOpen(client);
    client.close();
    return place.kinds()[before];
  };
  globalThis.localStorage = {};
  try {
    assert.equal(await firstOf(), 'websocket');
    assert.equal(await firstOf(), 'sse');
    Date.now = () => now() + 3590e3;
    assert.equal(await firstOf(), 'sse');
    Date.now = () => now() + 2 * 3601e3;
    assert.equal(await firstOf(), 'websocket');
  } finally {
    Date.now = now;
    delete globalThis.localStorage;
  }
});

test('a stream whose opening does not come is given up after three seconds', async () => {
  const place = await stand(server.port, (kind) => (kind === 'sse' ? 'buffer' : kind === 'poll' ? undefined : 'refuse'));
  const client = open(place.origin);
  const { data } = listen(client, 'buffered');
  await isOpen(client);
  const sse = place.seen.find(({ kind }) => kind === 'sse');
  await until(() => sse.ended, 'the end of the stream');
  assert.ok(sse.ended - sse.at > 2500 && sse.ended - sse.at < 12000, `${sse.ended - sse.at} ms`);
  assert.equal(client.transport, 'poll');
  await publish(server, 'buffered', 'x');
  await until(() => data().length === 1, 'a message');
});

for (const transport of TRANSPORTS) {
  test(`what is cut is tried the same way first and nothing is lost, over ${transport}`, async () => {
    const place = await stand(server.port, (kind) => (TRANSPORTS.indexOf(kind) < TRANSPORTS.indexOf(transport) ? 'refuse' : undefined));
    const client = open(place.origin);
    const { data } = listen(client, `cut/${transport}`, { since: 'earliest' });
    await isOpen(client);
    await publish(server, `cut/${transport}`, '1');
    await until(() => data().length === 1, 'a message');
    const before = place.seen.length;
    place.cut();
    await publish(server, `cut/${transport}`, '2');
    await until(() => data().length === 2, 'the next one');
    assert.deepEqual(data(), ['1', '2']);
    const again = () => place.seen.slice(before).find(({ kind }) => transport === 'poll' || kind !== 'poll'); // what was before is asked for besides
    await until(again, 'the way back');
    assert.equal(again().kind, transport);
    await isOpen(client);
    assert.equal(client.transport, transport);
  });

  test(`all subscriptions are on one connection, and each begins where it wants, over ${transport}`, async () => {
    const name = (which) => `begin/${transport}/${which}`;
    const ids = {};
    for (const which of ['earliest', 'last', 'cursor', 'now']) {
      ids[which] = [];
      for (const text of ['1', '2', '3']) ids[which].push(await publish(server, name(which), text));
    }
    const place = await stand(server.port);
    const client = open(place.origin, { transports: [transport] });
    const opened = [];
    const told = Object.fromEntries(Object.entries({ earliest: 'earliest', last: 'last=2', cursor: ids.cursor[1], now: undefined })
      .map(([which, since]) => [which, listen(client, name(which), { ...(since && { since }), onopen: (...words) => opened.push([which, words.length]) })]));
    await until(() => opened.length === 4, 'all openings');
    await Promise.all(Object.keys(told).map((which) => publish(server, name(which), 'next')));
    await until(() => Object.values(told).every(({ data }) => data().at(-1) === 'next'), 'all messages');
    assert.deepEqual(Object.fromEntries(Object.entries(told).map(([which, { data }]) => [which, data()])),
      { earliest: ['1', '2', '3', 'next'], last: ['2', '3', 'next'], cursor: ['3', 'next'], now: ['next'] });
    assert.deepEqual(opened.map(([, count]) => count), [0, 0, 0, 0]);
    const subscriptions = await Promise.all(Object.keys(told).map(async (which) =>
      (await (await fetch(`${server.origin}/api/channels/${name(which)}`)).json()).subscribers.total));
    assert.ok(Math.max(...subscriptions) <= 1, `${subscriptions}`);
  });
}

for (const transport of ['sse', 'stream', 'poll']) {
  test(`more channels than one request takes are all told, and gone on with after a cut, over ${transport}`, async () => {
    const place = await stand(server.port);
    const client = open(place.origin, { transports: [transport] });
    const name = (which) => `many/${transport}/${which}`;
    let opened = 0;
    const told = Array.from({ length: 70 }, (_, which) => listen(client, name(which), { onopen() { opened++; } }));
    await until(() => opened === 70, 'the openings');
    assert.ok(client.told.every(({ state }) => state !== 'lost'));
    const say = (word) => Promise.all(told.map((_, which) => publish(server, name(which), `${word} ${which}`)));
    const hasTold = (...words) => told.every(({ data }, which) => data().join() === words.map((word) => `${word} ${which}`).join());
    await say('first');
    await until(() => hasTold('first'), 'the first messages');
    place.cut();
    await say('next');
    await until(() => hasTold('first', 'next'), 'the next messages');
  });
}

test('it waits as long as the server says and up to half as much again', async () => {
  let turns = 0;
  const place = await stand(server.port, (kind) => (kind === 'poll' && ++turns === 1
    ? 'HTTP/1.1 503 Full\r\nRetry-After: 2\r\nContent-Type: application/json\r\nContent-Length: 39\r\nConnection: close\r\n\r\n{"error":"memory-limit","message":"full"' : undefined));
  const client = open(place.origin, { transports: ['poll'] });
  listen(client, 'waits');
  await isOpen(client);
  const polls = place.seen.filter(({ kind }) => kind === 'poll');
  const waited = polls[1].at - polls[0].at;
  assert.ok(waited > 1900 && waited < 6000, `${waited} ms`);
  const lost = client.told.find(({ state }) => state === 'lost');
  assert.ok(lost.delay >= 1900 && lost.delay <= 3000, `${lost.delay}`);
});

test('one on which nothing is heard for two and a half heartbeats is lost', async () => {
  const place = await stand(server.port);
  const client = open(place.origin, { transports: ['sse'], heartbeat: 1 });
  const { data } = listen(client, 'quiet', { since: 'earliest' });
  await isOpen(client);
  place.isFrozen = true;
  const begun = performance.now();
  await until(() => client.told.some(({ state }) => state === 'lost') || client.state !== 'open', 'the loss');
  assert.ok(performance.now() - begun > 1000 && performance.now() - begun < 10000);
  place.isFrozen = false;
  await publish(server, 'quiet', 'x');
  await until(() => data().length === 1, 'the message');
});

test('a server that stops says where to go on, publishes go there too, and the first address is tried when that is gone', async () => {
  const redis = await startRedis('documented');
  const broker = ['--broker', `unix://${redis.socket}`];
  const other = await start(0, broker);
  let first = await start(0, [...broker, '--alternatives', other.origin]);
  const client = open(first.origin);
  const { data } = listen(client, 'moving', { since: 'earliest' });
  await isOpen(client);
  await client.publish('moving', '1');
  await until(() => data().length === 1, 'a message');
  await stop(first);
  await until(() => client.told.at(-1).state === 'open' && client.told.at(-1).base?.startsWith(other.origin), 'the other node');
  await client.publish('moving', '2');
  await until(() => data().length === 2, 'a message there');
  first = await start(first.port, broker);
  await kill(other.child);
  await until(() => client.told.at(-1).state === 'open' && client.told.at(-1).base?.startsWith(first.origin), 'the way back');
  await client.publish('moving', '3');
  await until(() => data().length === 3, 'a message here');
  assert.deepEqual(data(), ['1', '2', '3']);
  client.close();
  await stop(first);
  await kill(redis.child);
});

// new Sluice(url, options).

test('events tell the state, with what the page says', async () => {
  const place = await stand(server.port);
  const client = open(place.origin, { transports: ['websocket'] });
  assert.ok(client instanceof EventTarget);
  const named = [];
  for (const state of ['connecting', 'open', 'lost', 'idle', 'closed']) client.addEventListener(state, (event) => named.push(event.type));
  const { subscription } = listen(client, 'states');
  await isOpen(client);
  const opened = client.told.find(({ state }) => state === 'open');
  assert.equal(opened.transport, 'websocket');
  assert.ok(opened.base.startsWith(place.origin));
  assert.deepEqual([client.state, client.transport], ['open', 'websocket']);
  place.cut();
  await until(() => named.includes('lost'), 'the loss');
  const lost = client.told.find(({ state }) => state === 'lost');
  assert.ok(lost.fault instanceof library.SluiceError || lost.fault.code !== undefined);
  assert.ok(lost.delay >= 0 && lost.delay <= 30000 * 1.5);
  await isOpen(client);
  subscription.close();
  await until(() => client.state === 'idle', 'idleness');
  client.close();
  assert.equal(client.state, 'closed');
  assert.deepEqual([...new Set(named)].sort(), ['closed', 'connecting', 'idle', 'lost', 'open']);
  assert.equal(client.told.at(-1).state, 'closed');
});

test('a channel that is not to be had is refused, by the event and by the function', async () => {
  const guarded = await start(0, ['--jwt-key', `HS256:${join(folder, 'key')}`]);
  const client = open(guarded.origin, { token: sign({ sluice: { subscribe: ['mine'], publish: ['mine'] }, exp: Date.now() / 1000 + 600 }) });
  const refused = [];
  client.addEventListener('refused', ({ channel, fault }) => refused.push([channel, fault.code]));
  const { data } = listen(client, 'mine', { since: 'earliest' });
  client.subscribe('yours', { onrefused: (fault) => refused.push(['function', fault.code, fault instanceof library.SluiceError]) });
  await until(() => refused.length === 2, 'the refusals');
  assert.deepEqual(refused.sort(), [['function', 'forbidden-channel', true], ['yours', 'forbidden-channel']]);
  await client.publish('mine', 'x');
  await until(() => data().length === 1, 'the other channel');
  await assert.rejects(client.publish('yours', 'x'), (fault) => { assert.deepEqual([fault.name, fault.code, fault.status], ['SluiceError', 'forbidden-channel', 0]); return fault.message.length > 0; });
  client.close();
  await stop(guarded);
});

test('a function is asked for a token, and again with the code of the error', async () => {
  const guarded = await start(0, ['--jwt-key', `HS256:${join(folder, 'key')}`]);
  const asked = [];
  const good = sign({ sluice: { subscribe: ['**'] }, exp: Date.now() / 1000 + 600 });
  const client = open(guarded.origin, { token: (why) => { asked.push(why); return asked.length === 1 ? 'no.token.this' : good; } });
  listen(client, 'x');
  await isOpen(client);
  assert.equal(asked[0], undefined);
  assert.match(asked[1], /^bad-|^token-/);
  client.close();
  await stop(guarded);
});

test('where there is no WebSocket it begins with Server-Sent Events', async () => {
  const place = await stand(server.port);
  const kept = globalThis.WebSocket;
  delete globalThis.WebSocket;
  try {
    const client = open(place.origin);
    listen(client, 'without');
    await isOpen(client);
    assert.deepEqual([client.transport, place.kinds()[0]], ['sse', 'sse']);
    client.close();
  } finally {
    globalThis.WebSocket = kept;
  }
});

// subscribe, publish, presence.

test('a reset is told to its function, and a loop goes on', async () => {
  const short = await start(0, ['--history-size', '2']);
  const ids = [];
  for (const text of ['1', '2', '3', '4', '5']) ids.push(await publish(short, 'c', text));
  const client = open(short.origin);
  const resets = [];
  const subscription = client.subscribe('c', { since: ids[0], onreset: (reset) => resets.push(reset) });
  const heard = [];
  for await (const { data } of subscription) if (heard.push(data) === 2) break;
  assert.deepEqual(heard, ['4', '5']);
  assert.deepEqual(resets.map(({ channel, reason, missed }) => [channel, reason, missed]), [['c', 'trimmed', 2]]);
  assert.deepEqual([subscription.channel, subscription.isClosed, subscription.cursor], ['c', true, ids[4]]);
  client.close();
  await stop(short);
});

test('what is published resolves to what the page says, and many go in few requests, in order', async () => {
  const place = await stand(server.port);
  const client = open(place.origin);
  const { data, heard } = listen(client, 'crowd', { since: 'earliest' });
  const answers = await Promise.all(Array.from({ length: 49 }, (_, count) => client.publish('crowd', { count }, { event: 'e', key: `k${count}`, producer: 'me', ttl: 60 })));
  assert.ok(answers.every(({ channel, id, time, type }) => channel === 'crowd' && /-\d+$/.test(id) && time > 1e12 && type === 'json'));
  await until(() => heard.length === 49, 'all of them');
  assert.deepEqual(data(), Array.from({ length: 49 }, (_, count) => ({ count })));
  assert.deepEqual([heard[3].event, heard[3].key, heard[3].producer, heard[3].channel, heard[3].type], ['e', 'k3', 'me', 'crowd', 'json']);
  const requests = place.seen.filter(({ kind }) => kind === 'publish').length;
  assert.ok(requests >= 4 && requests <= 5, `${requests} requests for 1 and 48 in sixteens`);
  const passing = await client.publish('crowd', 'passing', { store: false });
  await until(() => heard.at(-1).data === 'passing', 'what is not kept');
  assert.deepEqual([heard.at(-1).stored, heard.at(-1).id], [false, passing.id]);
});

test('a publish is repeated with its key until it is accepted', async () => {
  let turns = 0;
  const place = await stand(server.port, (kind) => (kind === 'publish' && ++turns < 3 ? (turns === 1 ? 'refuse-by-cut' : 'HTTP/1.1 503 Full\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n') : undefined));
  const decide = place.decide;
  place.decide = (kind, head) => { const what = decide(kind, head); return what === 'refuse-by-cut' ? '\r\n' : what; };
  const client = open(place.origin);
  await client.publish('again', 'x');
  assert.equal(turns, 3);
  assert.equal((await (await fetch(`${server.origin}/api/channels/again`)).json()).messages, 1);
});

test('presence promises a room', async () => {
  const [watcher, ann, nobody] = [open(server.origin), open(server.origin), open(server.origin)];
  ann.subscribe('rooms/doc', { as: 'ann', info: { mood: 'good' } });
  await isOpen(ann);
  nobody.subscribe('rooms/doc');
  await isOpen(nobody);
  await until(async () => (await watcher.presence('rooms/doc')).count >= 1, 'ann');
  let changes = 0;
  const room = await watcher.presence('rooms/doc', { onchange: (same) => { changes++; assert.ok(same.members instanceof Map); } });
  assert.deepEqual(room.members.get('ann').info, { mood: 'good' });
  assert.equal(room.count, 1);
  assert.equal(typeof room.anonymous, 'number');
  ann.close();
  await until(() => room.members.size === 0, 'nobody');
  assert.ok(changes > 0);
  room.close();
  await assert.rejects(watcher.presence('plain'), { name: 'SluiceError', code: 'no-presence' });
});

// SluiceEventSource, and what is exported.

test('a SluiceEventSource takes channels, since, last and token of its address, and tells resets', async () => {
  const short = await start(0, ['--history-size', '2']);
  const ids = [];
  for (const text of ['1', '2', '3', '4']) ids.push(await publish(short, 'old', text));
  await publish(short, 'beside', '{"a": [1,  2]}', 'made');
  const source = new library.SluiceEventSource(`${short.origin}/channels/old?channel=beside&last=1`, { transports: ['stream'] });
  const told = [];
  for (const kind of ['message', 'made', 'reset', 'subscribed']) source.addEventListener(kind, ({ type, data }) => told.push([type, data]));
  await until(() => told.length === 2, 'both');
  assert.deepEqual(told.sort(), [['made', '{"a": [1,  2]}'], ['message', '4']]);
  assert.deepEqual([source.withCredentials, source.readyState, source.url], [false, 1, `${short.origin}/channels/old?channel=beside&last=1`]);
  source.close();
  assert.equal(source.readyState, library.SluiceEventSource.CLOSED);
  const late = new library.SluiceEventSource(`${short.origin}/channels/old?since=${ids[0]}`);
  const resets = [];
  late.addEventListener('reset', ({ data }) => resets.push(JSON.parse(data).reason));
  await until(() => resets.length === 1, 'a reset');
  assert.deepEqual(resets, ['trimmed']);
  late.close();
  await stop(short);
});

test('the types declare what is exported, and the page names what is there', () => {
  const types = readFileSync(join(SOURCE_DIR, 'static/sluice.d.ts'), 'utf8');
  const classes = [...types.matchAll(/^export (?:class|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(Object.keys(library).filter((name) => classes.includes(name)).sort(), classes.sort());
  const member = (type) => [...types.match(new RegExp(`export (?:class|interface) ${type}\\b[^]*?\\n}`))[0].matchAll(/^  (?:static )?(?:readonly )?(\w+)[?(:<]/gm)].map(([, name]) => name);
  const client = open(server.origin);
  const subscription = client.subscribe('types');
  for (const name of ['state', 'subscribe', 'publish', 'presence', 'close']) assert.ok(name in client && member('Sluice').includes(name), name);
  for (const name of member('Subscription')) assert.ok(name in subscription, name);
  const source = new library.SluiceEventSource(`${server.origin}/channels/types`);
  for (const name of ['url', 'withCredentials', 'readyState', 'onopen', 'onmessage', 'onerror', 'addEventListener', 'close', 'CONNECTING', 'OPEN', 'CLOSED']) assert.ok(name in source, name);
  source.close();
  for (const option of ['token', 'transports', 'share', 'credentials', 'heartbeat']) {
    assert.ok(PAGE.includes(`| \`${option}\``) && member('SluiceOptions').includes(option), option);
  }
  for (const [, link] of PAGE.matchAll(/\]\(([^)#]+)/g)) assert.ok(existsSync(join(dirname(join(SOURCE_DIR, 'docs/x')), link)), link);
});

test('the server ends in order after all that', async () => {
  clients.forEach((client) => client.close());
  await stop(server);
});
