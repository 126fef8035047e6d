// SPDX-License-Identifier: MIT
// What else the client library has: SluiceEventSource in an old page, who is there, iteration, tokens, the classic build.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { join } from 'node:path';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { launch, publish, start, startProxy, stop, until, watchFaults } from './support.mjs';

const TRANSPORTS = ['websocket', 'sse', 'stream', 'poll'];
const SECRET = 'a secret of thirty-two bytes or more';
const folder = mkdtempSync(join(tmpdir(), 'sluice-faces-'));
const faults = [];
globalThis.WebSocket ??= WebSocket;
let library;
let server;
let guarded;
let browser;

before(async () => {
  writeFileSync(join(folder, 'key'), SECRET);
  writeFileSync(join(folder, 'presence.conf'), '[channel "rooms/**"]\npresence = yes\n');
  library = await import(join(process.env.SOURCE_DIR, 'static/sluice.js'));
  server = await start(0, ['--config', join(folder, 'presence.conf'), '--presence-grace', '0.5']);
  guarded = await start(0, ['--jwt-key', `HS256:${join(folder, 'key')}`]);
  browser = await launch();
});
after(() => {
  rmSync(folder, { recursive: true });
  return browser?.close();
});

function sign(claims) {
  const part = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
  const text = `${part({ alg: 'HS256' })}.${part(claims)}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

/* The page of an application that was written for EventSource; `line` is the one that is changed. */
const oldPage = (line) => `${line}
  window.told = [];
  source.onopen = () => told.push('open ' + source.readyState);
  source.onmessage = ({ data, lastEventId }) => told.push('message ' + data + ' ' + /^\\w{12}-\\d+$/.test(lastEventId));
  source.addEventListener('goal', ({ data, type, origin }) => told.push(type + ' ' + JSON.parse(data).home + ' ' + (origin === location.origin)));
  source.onerror = () => told.push('error ' + source.readyState);`;

for (const [way, line] of Object.entries({
  EventSource: "window.source = new EventSource('/channels/old/WAY?last=5');",
  SluiceEventSource: "window.source = new SluiceEventSource('/channels/old/WAY?last=5');",
})) {
  test(`an old page says the same with ${way}`, async () => {
    const proxy = await startProxy(server.port);
    const page = await browser.newPage();
    watchFaults(page, faults);
    await page.goto(`${proxy.origin}/healthz`);
    await page.evaluate(() => new Promise((resolve) => { document.head.append(Object.assign(document.createElement('script'), { src: '/sluice.classic.js', onload: resolve })); }));
    await page.evaluate((text) => (0, eval)(text), oldPage(line.replace('WAY', way)));
    await until(() => page.evaluate(() => told.length === 1), 'the opening');
    await publish(server, `old/${way}`, 'one');
    await publish(server, `old/${way}`, '{"home":2}', 'goal');
    await until(() => page.evaluate(() => told.length === 3), 'messages');
    proxy.cut();
    await until(() => page.evaluate(() => told.at(-1) === 'open 1'), 'the way back');
    await publish(server, `old/${way}`, 'two\nlines');
    await until(() => page.evaluate(() => told.at(-1).startsWith('message two')), 'the last message');
    const said = await page.evaluate(() => told);
    assert.deepEqual(said.filter((line, at) => line !== said[at - 1]), ['open 1', 'message one true', 'goal 2 true', 'error 0', 'open 1', 'message two\nlines true']);
    assert.deepEqual(await page.evaluate(() => [source.url, source.withCredentials, source.readyState, source.OPEN, source.constructor.CLOSED]),
      [`${proxy.origin}/channels/old/${way}?last=5`, false, 1, 1, 2]);
    await page.evaluate(() => source.close());
    assert.equal(await page.evaluate(() => source.readyState), 2);
    await page.close();
    proxy.stop();
  });
}

test('what an EventSource may not have ends it', async () => {
  const source = new library.SluiceEventSource(`${guarded.origin}/channels/secret`);
  let isTold = false;
  source.onerror = () => { isTold = true; };
  await until(() => source.readyState === library.SluiceEventSource.CLOSED && isTold, 'the end');
});

for (const transport of TRANSPORTS) {
  test(`who is there is known over ${transport}`, async () => {
    const room = `rooms/${transport}`;
    const [watcher, ann, bob] = Array.from({ length: 3 }, () => new library.Sluice(server.origin, { transports: [transport], heartbeat: 2 }));
    const there = await watcher.presence(room, { onchange() {} });
    const names = () => [...there.members.keys()].sort().join();
    ann.subscribe(room, { as: 'ann', info: { mood: 'good' } });
    await until(() => names() === 'ann', 'ann');
    assert.deepEqual(there.members.get('ann').info, { mood: 'good' });
    bob.subscribe(room, { as: 'bob' });
    await until(() => names() === 'ann,bob', 'bob');
    assert.deepEqual([...(await bob.presence(room)).members.keys()], ['ann', 'bob']);
    ann.close();
    await until(() => names() === 'bob', 'only bob');
    [watcher, bob].forEach((client) => client.close());
  });

  test(`a token is asked for again when it is over, and nothing is missed, over ${transport}`, { timeout: 100000 }, async () => {
    const asked = [];
    const sluice = { subscribe: ['**'], publish: ['**'] };
    const client = new library.Sluice(guarded.origin, {
      transports: [transport],
      token: async (why) => {
        asked.push(why);
        return sign({ sluice, jti: String(Math.random()), exp: asked.length === 1 ? 1 : Date.now() / 1000 + 3600 });
      },
    });
    const heard = [];
    client.subscribe(`tokens/${transport}`, { since: 'earliest', onmessage: ({ data }) => heard.push(data) });
    await client.publish(`tokens/${transport}`, 'x');
    await until(() => heard.length === 1, 'a message');
    assert.ok(asked.includes('token-expired'));
    client.close();
  });
}

/* The server lets a token pass for 30 s behind its end. */
for (const transport of TRANSPORTS) {
  test(`a token that ends while one follows over ${transport} is asked for anew, and nothing is missed`, async () => {
    const channel = `ends/${transport}`;
    const asked = [];
    const sign1 = (exp) => sign({ sluice: { subscribe: ['**'], publish: ['**'] }, jti: String(Math.random()), exp });
    const client = new library.Sluice(guarded.origin, { transports: [transport], heartbeat: 2, token: async (why) => {
      asked.push(why);
      return sign1(Date.now() / 1000 + (why ? 3600 : -22));
    } });
    const publisher = new library.Sluice(guarded.origin, { token: sign1(Date.now() / 1000 + 3600) });
    const heard = [];
    let count = 0;
    client.subscribe(channel, { since: 'earliest', onmessage: ({ data }) => heard.push(data) });
    await until(async () => {
      await publisher.publish(channel, count++);
      return asked.length > 1;
    }, 'another token');
    await publisher.publish(channel, count++);
    await until(() => heard.length >= count, `${count} messages`);
    assert.deepEqual(heard, Array.from({ length: count }, (_, at) => at));
    assert.deepEqual(new Set(asked), new Set([undefined, 'token-expired']));
    client.close();
    publisher.close();
  });
}

test('a subscription can be iterated, and a refusal is thrown', async () => {
  const client = new library.Sluice(server.origin);
  const told = client.subscribe('iterated', { since: 'earliest' });
  const sent = Promise.all([1, 2, 3].map((count) => client.publish('iterated', { count })));
  const heard = [];
  for await (const { data } of told) {
    heard.push(data.count);
    if (heard.length === 3) break;
  }
  await sent;
  assert.deepEqual(heard, [1, 2, 3]);
  assert.equal(told.isClosed, true);
  await assert.rejects(async () => { for await (const message of client.subscribe('no name')) assert.fail(message); }, { name: 'SluiceError', code: 'bad-channel' });
  await assert.rejects(client.publish('no name', 'x'), { name: 'SluiceError', code: 'bad-channel' });
  client.close();
});

test('what is published comes as it was, with its options', async () => {
  const client = new library.Sluice(server.origin);
  const heard = [];
  client.subscribe('kinds', { since: 'earliest', onmessage: (message) => heard.push(message) });
  await Promise.all([
    client.publish('kinds', 'text', { event: 'said', key: 'k' }),
    client.publish('kinds', { a: [1, null] }),
    client.publish('kinds', new Uint8Array([0, 255])),
    client.publish('kinds', 'json', { type: 'json', ttl: 60 }),
  ]);
  const first = await client.publish('kinds', 'once', { id: 'key' });
  const second = await client.publish('kinds', 'once', { id: 'key' });
  assert.deepEqual([second.id, second.duplicate], [first.id, true]);
  await until(() => heard.length === 5, 'five messages');
  assert.deepEqual(heard.map(({ type, data }) => [type, data]),
    [['text', 'text'], ['json', { a: [1, null] }], ['binary', new Uint8Array([0, 255])], ['json', 'json'], ['text', 'once']]);
  assert.deepEqual([heard[0].event, heard[0].key], ['said', 'k']);
  client.close();
});

test('a client that is closed does not keep a program from its end', () => {
  const program = `import { Sluice } from ${JSON.stringify(join(process.env.SOURCE_DIR, 'static/sluice.js'))};
    const client = new Sluice(${JSON.stringify(server.origin)});
    client.subscribe('rooms/end', { as: 'ann' });
    await client.presence('rooms/end', { onchange() {} });
    client.close();`;
  execFileSync(process.execPath, ['--input-type=module', '--eval', program], { timeout: 30000 });
});

test('the servers end in order after all that', async () => {
  await browser.close();
  await stop(server);
  await stop(guarded);
  assert.deepEqual(faults, []);
});
