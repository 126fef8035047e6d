// SPDX-License-Identifier: MIT
// sockjs-client in node and in Debian's chromium, over every transport that it has, against a real server: echo, close, and the
// command protocol with its resume after a cut. In chromium from a page of the server's own and from one of another origin.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import SockJS from 'sockjs-client';
import { atEnd, launch, publish, start, startProxy, stop, until } from './support.mjs';

const SCRIPT = readFileSync(new URL('../dist/sockjs.min.js', import.meta.resolve('sockjs-client')), 'utf8');
const SERVICES = ['/echo app=echo', '/close app=close', '/commands app=commands', '/nowebsocket app=echo websocket=no'];
const NODE = ['websocket', 'xhr-streaming', 'eventsource', 'xhr-polling'];
const IFRAMES = ['iframe-eventsource', 'iframe-htmlfile', 'iframe-xhr-polling'];
const OWN_PAGE = [...NODE, ...IFRAMES, 'htmlfile', 'jsonp-polling'];
const OTHER_PAGE = [...NODE, ...IFRAMES, 'jsonp-polling'];
let server;
let browser;
let context;
let other;
const pages = new Map();

/* The page that a browser's client lives in: one of the server itself, because chromium lets a page that nobody has sent reach
 * nobody. The script of the iframe pages comes from here too. */
async function openPage(origin) {
  const page = await context.newPage();
  await page.route(/\/sockjs[^/]*\.js$/, (route) => route.fulfill({ contentType: 'text/javascript', body: SCRIPT }));
  await page.goto(`${origin}/echo`);
  await page.addScriptTag({ content: SCRIPT });
  await page.evaluate(() => {
    window.sockets = [];
    window.connect = (url, transports, timeout) => {
      const socket = new SockJS(url, null, { transports, timeout });
      const about = { messages: [], closed: null, transport: null };
      socket.onopen = () => { about.transport = socket.transport; };
      socket.onmessage = ({ data }) => about.messages.push(data);
      socket.onclose = ({ code, reason }) => { about.closed = [code, reason]; };
      return window.sockets.push({ socket, about }) - 1;
    };
  });
  return page;
}

/* One SockJS each, with the same face: what came, how it ended, over what. Pages are opened once for each origin. */
function inPage(chooseOrigin) {
  return async (url, transports, timeout = 10000) => {
    const origin = chooseOrigin(url);
    if (!pages.has(origin)) pages.set(origin, openPage(origin));
    const page = await pages.get(origin);
    const number = await page.evaluate((all) => window.connect(...all), [url, transports, timeout]);
    return {
      look: () => page.evaluate((i) => window.sockets[i].about, number),
      send: (texts) => page.evaluate(([i, all]) => { for (const text of all) window.sockets[i].socket.send(text); }, [number, texts]),
      close: () => page.evaluate((i) => window.sockets[i].socket.close(), number),
    };
  };
}

const clients = {
  node: { transports: NODE, connect: async (url, transports) => {
    const about = { messages: [], closed: null, transport: null };
    const socket = new SockJS(url, null, { transports, timeout: 10000 });
    socket.onopen = () => { about.transport = socket.transport; };
    socket.onmessage = ({ data }) => about.messages.push(data);
    socket.onclose = ({ code, reason }) => { about.closed = [code, reason]; };
    atEnd(() => socket.close());
    return { look: async () => about, send: async (texts) => texts.forEach((text) => socket.send(text)), close: async () => socket.close() };
  } },
  'a page of the server': { transports: OWN_PAGE, connect: inPage((url) => new URL(url).origin) },
  'a page of another origin': { transports: OTHER_PAGE, connect: inPage(() => other.origin) },
};

const opens = async (client, transport) => {
  await until(async () => { const { transport: name, closed } = await client.look(); return name || closed; }, `opening over ${transport}`);
  assert.deepEqual(await client.look().then(({ transport: name, closed }) => [name, closed]), [transport, null]);
};
const ends = (client) => until(async () => (await client.look()).closed, 'the end');
const gets = (client, count) => until(async () => (await client.look()).messages.length >= count, `${count} messages`);

before(async () => {
  browser = await launch();
  context = await browser.newContext();
  const site = createServer((request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><body>');
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  other = { origin: `http://127.0.0.1:${site.address().port}` };
  atEnd(() => { site.close(); site.closeAllConnections(); });
  server = await start(0, [...SERVICES.flatMap((service) => ['--sockjs', `${service} response-limit=4096 legacy=yes`]),
    '--allowed-origins', other.origin]);
});

after(async () => {
  await browser?.close();
  await stop(server);
});

for (const [who, { transports, connect }] of Object.entries(clients)) {
  for (const transport of transports) {
    test(`${who}, ${transport}: an echo`, async () => {
      const client = await connect(`${server.origin}/echo`, [transport]);
      await opens(client, transport);
      const texts = ['a', '', '"\\/\b\f\n\r\t\u0000\u001f', '\u2028\u2029\u200c\ufeff\uffff', 'é\u{1f600}', '</script>', 'x'.repeat(5000)];
      await client.send(texts);
      await gets(client, texts.length);
      assert.deepEqual((await client.look()).messages, texts);
      const numbers = Array.from({ length: 100 }, (_, i) => `${i}`);
      await client.send(numbers);
      await gets(client, texts.length + 100);
      assert.deepEqual((await client.look()).messages.slice(texts.length), numbers);
      await client.close();
      assert.equal((await ends(client))[0], 1000);
    });

    test(`${who}, ${transport}: a service that closes`, async () => {
      const client = await connect(`${server.origin}/close`, [transport]);
      assert.deepEqual(await ends(client), [3000, 'Go away!']);
    });

    test(`${who}, ${transport}: commands, and a resume after a cut`, async () => {
      const proxy = await startProxy(server.port);
      const channel = `sockjs/${who}/${transport}`.replaceAll(' ', '-');
      const said = async (client, op) => (await client.look()).messages.map((text) => JSON.parse(text)).filter((each) => each.op === op);
      const hears = (client, op, count = 1) => until(async () => (await said(client, op)).length >= count, op);
      const ask = (client, command) => client.send([JSON.stringify(command)]);
      const seen = [];

      const first = await connect(`${proxy.origin}/commands`, [transport]);
      await opens(first, transport);
      await ask(first, { op: 'subscribe', ref: 1, channels: [channel] });
      await hears(first, 'subscribed');
      await ask(first, { op: 'publish', ref: 2, channel, data: 'one' });
      await hears(first, 'published');
      await publish(server, channel, 'two');
      await hears(first, 'message', 2);
      seen.push(...await said(first, 'message'));
      // A cut between two polls cuts nothing; over xhr-streaming in node and over htmlfile the client notices nothing until it sends.
      await until(async () => {
        proxy.cut();
        await ask(first, { op: 'ping' });
        return (await first.look()).closed;
      }, 'noticing the cut');
      await publish(server, channel, 'meanwhile');

      const second = await connect(`${proxy.origin}/commands`, [transport]);
      await opens(second, transport);
      await ask(second, { op: 'subscribe', ref: 1, channels: [channel], since: seen.at(-1).id });
      await hears(second, 'subscribed');
      assert.equal((await said(second, 'subscribed'))[0].recovered, true);
      await publish(server, channel, 'then');
      await hears(second, 'message', 2);
      seen.push(...await said(second, 'message'));
      assert.deepEqual(seen.map(({ data }) => data), ['one', 'two', 'meanwhile', 'then']);
      assert.deepEqual(await said(second, 'reset'), []);
      await second.close();
      proxy.stop();
    });
  }

  test(`${who}: without WebSocket the next transport is taken`, async () => {
    const client = await connect(`${server.origin}/nowebsocket`, undefined);
    await until(async () => (await client.look()).transport, 'opening');
    assert.equal((await client.look()).transport, 'xhr-streaming');
    await client.send(['a']);
    await gets(client, 1);
    await client.close();
  });
}

test('a page of an origin that nobody has named gets nothing of the channels', async () => {
  const strict = await start(0, ['--sockjs', '/sockjs legacy=yes']);
  for (const transport of [...NODE, ...IFRAMES]) {
    const client = await clients['a page of another origin'].connect(`${strict.origin}/sockjs`, [transport], 1000);
    await ends(client);
    assert.deepEqual(await client.look().then((about) => [about.transport, about.messages]), [null, []], transport);
  }
  await stop(strict);
});
