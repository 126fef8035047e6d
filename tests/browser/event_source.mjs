// SPDX-License-Identifier: MIT
// EventSource of Debian's chromium and of npm, against a real server: it survives every condition that passes, and gets what
// was published meanwhile.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, createServer, get, request } from 'node:http';
import { after, before, test } from 'node:test';
import { EventSource as NodeEventSource } from 'eventsource';
import { createParser } from 'eventsource-parser';
import { atEnd, kill, launch, openBlank, start, startProxy, startRedis, stop, until } from './support.mjs';

let browser;

before(async () => { browser = await launch(); });
after(() => browser?.close());

/* One EventSource each, with the same face. `from` is the origin of the page. */
const clients = {
  async chromium(origin, path, from = origin) {
    const page = await (from === origin ? openBlank(browser, origin) : browser.newPage());
    if (from !== origin) await page.goto(`${from}/blank`);
    await page.evaluate((url) => {
      window.seen = [];
      window.errors = 0;
      window.source = new EventSource(url);
      for (const name of ['subscribed', 'message', 'reset']) {
        window.source.addEventListener(name, (event) => window.seen.push([name, event.data, event.lastEventId]));
      }
      window.source.onerror = () => { window.errors++; };
    }, origin + path);
    return {
      look: () => page.evaluate(() => ({ seen: window.seen, errors: window.errors, state: window.source.readyState })),
      close: () => page.close(),
    };
  },
  async node(origin, path) {
    const about = { seen: [], errors: 0 };
    const source = new NodeEventSource(origin + path);
    atEnd(() => source.close());
    for (const name of ['subscribed', 'message', 'reset']) {
      source.addEventListener(name, (event) => about.seen.push([name, event.data, event.lastEventId]));
    }
    source.onerror = () => { about.errors++; };
    return { look: async () => ({ ...about, state: source.readyState }), close: async () => source.close() };
  },
};

const messages = async (client) => (await client.look()).seen.filter(([name]) => name === 'message').map(([, data]) => data);
const sees = (client, data) => until(async () => (await messages(client)).includes(data), `message ${data}`);
const opens = (client) => until(async () => (await client.look()).seen.length > 0, 'subscribed');

async function survives(client, errors, keepOut = () => {}) {
  const before = (await client.look()).errors;
  await until(async () => { await keepOut(); return (await client.look()).errors >= before + errors; }, 'being refused');
  assert.notEqual((await client.look()).state, 2, 'the EventSource has given up');
}

/* Publishes over one connection that is kept, whatever the limits are. */
function publisher(server) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const publish = async (channel, text) => {
    const post = request(`${server.origin}/channels/${channel}`, { method: 'POST', agent, headers: { 'Content-Type': 'text/plain' } });
    post.end(text);
    const [response] = await once(post, 'response');
    response.resume();
    await once(response, 'end');
    assert.equal(response.statusCode, 201);
  };
  const subscribers = async (channel) => {
    const [response] = await once(get(`${server.origin}/api/channels/${channel}`, { agent }), 'response');
    return JSON.parse(Buffer.concat(await response.toArray())).subscribers?.sse ?? 0;
  };
  return { publish, subscribers, close: () => agent.destroy() };
}

/* Holds streams until the server takes no more; says how many it took. */
async function fill(server, held) {
  for (let taken = 0; ; taken++) {
    const [response] = await once(get(`${server.origin}/channels/filler?transport=stream`, { agent: false }), 'response');
    if (response.statusCode !== 200) {
      response.resume();
      return taken;
    }
    response.on('error', () => {});
    held.push(response);
  }
}

const limits = {
  'too-many-connections': [['--max-connections', '4']],
  'too-many-from-address': [['--max-connections-per-ip', '4', '--trusted-proxies', '']],
  'no-descriptors': [['--shards', '1'], 64],
};

for (const [name, connect] of Object.entries(clients)) {
  for (const [limit, options] of Object.entries(limits)) {
    test(`${name}: ${limit}`, async () => {
      const server = await start(0, ...options);
      const proxy = await startProxy(server.port);
      const { publish, subscribers, close } = publisher(server);
      const held = [];
      await publish('limit', 'before');
      const early = await connect(proxy.origin, '/channels/limit');
      await opens(early);
      await publish('limit', '1');
      await sees(early, '1');
      const keepOut = async () => {
        if (await subscribers('limit') + await subscribers('late') > 0) proxy.cut();
        await fill(server, held);
      };
      await survives(early, 4, keepOut);
      const late = await connect(proxy.origin, '/channels/late');
      await survives(early, 2, keepOut);
      await survives(late, 2, keepOut);
      await publish('limit', '2');
      for (const response of held) response.destroy();
      await sees(early, '2');
      await opens(late);
      await publish('late', '3');
      await sees(late, '3');
      assert.deepEqual(await messages(early), ['1', '2']);
      assert.deepEqual((await early.look()).seen.map(([event]) => event).filter((event) => event === 'reset'), []);
      await early.close();
      await late.close();
      close();
      proxy.stop();
      await stop(server);
    });
  }

  test(`${name}: memory-limit`, async () => {
    const server = await start(0, ['--memory-limit', '1MiB', '--history-bytes', '64MiB', '--history-size', '9999', '--linger-time', '0']);
    const send = (method, path, body) => fetch(server.origin + path, { method, body, headers: { 'Content-Type': 'text/plain' } });
    while ((await send('POST', '/channels/held', 'x'.repeat(100000))).ok);
    const held = [];
    for (let i = 0; held.length === 0 || held.at(-1).status === 200; i++) {
      held.push(await send('GET', `/channels/held?channel=held/${i}&transport=stream`));
    }
    const client = await connect(server.origin, '/channels/new');
    await survives(client, 2);
    await send('DELETE', '/api/channels/held');
    for (const response of held) await response.body.cancel();
    await opens(client);
    await send('POST', '/channels/new', '1');
    await sees(client, '1');
    await client.close();
    await stop(server);
  });

  test(`${name}: broker-down`, async () => {
    const redis = () => startRedis(name, '--appendonly', 'yes', '--appendfsync', 'always');
    let { child, socket } = await redis();
    const server = await start(0, ['--broker', `unix://${socket}`, '--heartbeat', '0.2']);
    const send = (text, channel = 'redis') => fetch(`${server.origin}/channels/${channel}`, { method: 'POST', body: text }).then(({ ok }) => ok);
    const early = await connect(server.origin, '/channels/redis');
    await opens(early);
    await until(() => send('1'), 'the broker');
    await sees(early, '1');
    await kill(child);
    await until(async () => !await send('lost', 'other'), 'being without Redis');
    const late = await connect(server.origin, '/channels/redis-late');
    await until(async () => (await late.look()).state === 1, 'opening without a broker');
    ({ child } = await redis());
    await until(() => send('2'), 'the broker');
    await sees(early, '2');
    await opens(late);
    await until(() => send('3', 'redis-late'), 'the broker');
    await sees(late, '3');
    // Redis has lost nothing, so nobody is told of its restart.
    assert.deepEqual((await early.look()).seen.map(([event]) => event), ['subscribed', 'message', 'message']);
    await early.close();
    await late.close();
    await stop(server);
    await kill(child);
  });

  for (const [when, awayMs] of Object.entries({ 'at once': 0, 'after a minute': 60_000 })) {
    const skip = awayMs > 0 && !process.env.SLUICE_MARKS && 'takes a minute; make check-long';
    test(`${name}: a drain, and a server that comes back ${when}`, { skip }, async () => {
      const first = await start();
      const client = await connect(first.origin, '/channels/drain');
      await opens(client);
      await stop(first);
      const backMs = Date.now() + awayMs;
      await survives(client, 1);
      while (Date.now() < backMs) await survives(client, 1);
      const second = await start(first.port);
      await fetch(`${second.origin}/channels/drain`, { method: 'POST', body: '1' });
      await sees(client, '1');
      assert.deepEqual((await client.look()).seen.map(([event]) => event), ['subscribed', 'subscribed', 'reset', 'message']);
      await client.close();
      await stop(second);
    });
  }
}

test('chromium: a page of another origin is refused without an answer, and comes back', async () => {
  const site = createServer((_, response) => response.setHeader('Content-Type', 'text/html').end('<!doctype html>')).listen(0, '127.0.0.1');
  await once(site, 'listening');
  const page = `http://127.0.0.1:${site.address().port}`;
  const server = await start(0, ['--max-connections', '1', '--allowed-origins', page]);
  const held = [];
  await fill(server, held);
  const client = await clients.chromium(server.origin, '/channels/cors', page);
  await survives(client, 2);
  for (const response of held) response.destroy();
  await opens(client);
  await client.close();
  site.close();
  await stop(server);
});

test('chromium and npm: no event but those that were sent, whatever they consist of', async () => {
  const server = await start(0, ['--heartbeat', '0.2', '--message-size', '16MiB', '--history-bytes', '64MiB']);
  const texts = ['one', '', 'a\nb', '\u2028é€🐇\ufeff', ' : ', 'data: x\n\nid: 7', ...Array.from({ length: 100 }, (_, i) => `burst ${i}`)];
  const all = await Promise.all(Object.values(clients).map((connect) => connect(server.origin, '/channels/all?padding=3000')));
  await Promise.all(all.map(opens));
  const parsed = [];
  const parser = createParser({ onEvent: (event) => parsed.push([event.event ?? 'message', event.data]), onError: assert.fail });
  const [response] = await once(get(`${server.origin}/channels/all?transport=sse&padding=3000`), 'response');
  const decoder = new TextDecoder();
  response.on('data', (part) => { for (const byte of part) parser.feed(decoder.decode(Uint8Array.of(byte), { stream: true })); });
  response.on('error', () => {});
  await until(() => parsed.length === 1, 'subscribed');
  await new Promise((resume) => { setTimeout(resume, 500); }); // a heartbeat or two
  const batch = texts.map((data) => JSON.stringify({ channel: 'all', data })).join('\n');
  await fetch(`${server.origin}/channels`, { method: 'POST', body: batch, headers: { 'Content-Type': 'application/x-ndjson' } });
  const huge = 'é'.repeat(2_500_000);
  await fetch(`${server.origin}/channels/all`, { method: 'POST', body: huge });
  for (const seen of [...all.map((client) => async () => (await client.look()).seen), async () => parsed]) {
    await until(async () => (await seen()).length === texts.length + 2, 'all events');
    const [[first], ...rest] = await seen();
    assert.equal(first, 'subscribed');
    assert.deepEqual(rest.map(([name]) => name), [...texts, huge].map(() => 'message'));
    assert.deepEqual(rest.map(([, data]) => data), [...texts, huge]);
  }
  response.destroy();
  await Promise.all(all.map((client) => client.close()));
  await stop(server);
});
