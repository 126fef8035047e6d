// SPDX-License-Identifier: MIT
// WebSocket of Debian's chromium against a real server: feeds, publishing, resuming through a proxy that cuts, commands.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, publish, start, startProxy, stop, until } from './support.mjs';

let browser;

before(async () => { browser = await launch(); });
after(() => browser?.close());

/* A WebSocket in a page of `from`. The page is the server's own: chromium lets one that a test has made up connect to no
 * loopback address. */
async function connect(origin, path, protocols = [], from = origin) {
  const page = await browser.newPage();
  await page.goto(`${from}/healthz`);
  await page.evaluate(([url, names]) => {
    window.heard = [];
    window.ended = null;
    window.socket = new WebSocket(url, names);
    window.socket.binaryType = 'arraybuffer';
    window.socket.onmessage = ({ data }) => window.heard.push(data instanceof ArrayBuffer ? [...new Uint8Array(data)] : data);
    window.socket.onclose = ({ code, reason, wasClean }) => { window.ended = { code, reason, wasClean }; };
  }, [origin.replace('http:', 'ws:') + path, protocols]);
  const look = () => page.evaluate(() => ({
    heard: window.heard, closed: window.ended, state: window.socket.readyState, protocol: window.socket.protocol,
    extensions: window.socket.extensions,
  }));
  return {
    look,
    heard: async (count) => (await until(async () => {
      const { heard, closed } = await look();
      assert.ok(heard.length >= count || !closed, `closed with ${JSON.stringify(closed)}`);
      return heard.length >= count && heard;
    }, `${count} frames`)),
    closed: () => until(async () => (await look()).closed, 'the close'),
    opened: () => until(async () => (await look()).state === 1, 'the handshake'),
    send: (data) => page.evaluate((value) => window.socket.send(Array.isArray(value) ? new Uint8Array(value) : value), data),
    end: (code, reason) => page.evaluate(([number, why]) => window.socket.close(number, why), [code, reason]),
  };
}

test('a feed of bare data, and what the page sends', async () => {
  const server = await start();
  const client = await connect(server.origin, '/channels/news');
  await client.opened();
  await client.send('héllo 🐇');
  await client.send([0, 255, 128]);
  await client.send('x'.repeat(100_000));
  assert.deepEqual(await client.heard(3), ['héllo 🐇', [0, 255, 128], 'x'.repeat(100_000)]);
  const { protocol, extensions } = await client.look();
  assert.deepEqual([protocol, extensions], ['', '']);
  await client.end(1000, 'enough');
  assert.deepEqual(await client.closed(), { code: 1000, reason: '', wasClean: true });
  await stop(server);
});

test('a feed of objects goes on where a cut was', async () => {
  const server = await start();
  const proxy = await startProxy(server.port);
  let cursor;
  let count = 0;
  for (let round = 0; round < 4; round++) {
    const query = cursor ? `?since=${cursor}` : '';
    const client = await connect(proxy.origin, `/channels/news${query}`, ['sluice.v1+raw2', 'sluice.v1+json']);
    const [opening] = (await client.heard(1)).map(JSON.parse);
    assert.equal(opening.recovered, round > 0);
    assert.equal((await client.look()).protocol, 'sluice.v1+json');
    for (let i = 0; i < 5; i++) await publish(server, 'news', `heard ${round} ${i}`);
    const objects = (await client.heard(6 + (round && 2))).map(JSON.parse).slice(1);
    const data = objects.map((object) => object.data);
    const missed = round ? [0, 1].map((i) => `missed ${round - 1} ${i}`) : [];
    assert.deepEqual(data, [...missed, ...[0, 1, 2, 3, 4].map((i) => `heard ${round} ${i}`)]);
    cursor = objects.at(-1).cursor;
    count += data.length;
    proxy.cut();
    assert.equal((await client.closed()).code, 1006);
    for (let i = 0; i < 2; i++) await publish(server, 'news', `missed ${round} ${i}`);
  }
  assert.equal(count, 26);
  proxy.stop();
  await stop(server);
});

test('commands, and what a page learns when the server stops', async () => {
  const server = await start();
  const client = await connect(server.origin, '/ws', ['sluice.v1+json']);
  await client.opened();
  await client.send(JSON.stringify({ op: 'subscribe', ref: 1, channels: ['a', 'b'] }));
  await client.send(JSON.stringify({ op: 'publish', ref: 2, channel: 'b', data: { n: 1 } }));
  const said = (await client.heard(3)).map(JSON.parse);
  assert.deepEqual(said.map(({ op }) => op).sort(), ['message', 'published', 'subscribed']);
  assert.deepEqual(said.find(({ op }) => op === 'message').data, { n: 1 });
  await stop(server);
  const { code, wasClean } = await client.closed();
  assert.deepEqual([code, wasClean], [1012, true]);
});

test('a page of another origin gets no feed', async () => {
  const server = await start();
  const other = await startProxy(server.port);
  const client = await connect(server.origin, '/channels/news', [], other.origin);
  assert.equal((await client.closed()).code, 1006);
  assert.deepEqual((await client.look()).heard, []);
  other.stop();
  await stop(server);
});
