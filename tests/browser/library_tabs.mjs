// SPDX-License-Identifier: MIT
// The client library in chromium: many tabs over one connection, tabs that go, freeze and come back, a network that goes and comes back.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, publish, start, startProxy, stop, until, watchFaults } from './support.mjs';
import { startTrouble } from './trouble.mjs';

const TABS = 10;
const isLong = /(^| )long/.test(process.env.SLUICE_MARKS ?? '') && !/not long$/.test(process.env.SLUICE_MARKS);
const OFFLINE_MS = isLong ? 60000 : 3000;
const CUTS = isLong ? 60 : 5;
let server;
let browser;
const faults = [];

before(async () => {
  server = await start(0, ['--history-size', '100000']);
  browser = await launch();
});
after(() => browser?.close());

const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));
const openings = async (channel) => (await (await fetch(`${server.origin}/api/channels/${channel}`)).json()).subscribers?.total ?? 0;

/* A page that follows a channel from its beginning. */
async function openTab(context, channel, { origin = server.origin, path = '/healthz', options = {}, prepare = '' } = {}) {
  const page = await context.newPage();
  watchFaults(page, faults);
  await page.goto(origin + path); // one that the test has made up may not connect to the machine's own addresses
  await page.evaluate(async ([name, given, before]) => {
    (0, eval)(before);
    const { Sluice } = await import('/sluice.js');
    Object.assign(window, { heard: [], states: [], resets: [], client: new Sluice('/', given) });
    client.addEventListener('state', ({ state, transport }) => states.push(`${state} ${transport ?? ''}`));
    window.told = client.subscribe(name, { since: 'earliest', onmessage: ({ data }) => heard.push(data), onreset: (reset) => resets.push(reset) });
  }, [channel, options, prepare]);
  return page;
}

const heard = (page) => page.evaluate(() => window.heard);
const hears = (page, expected) => until(async () => (await heard(page)).length >= expected.length, `${expected.length} messages`)
  .then(async () => assert.deepEqual(await heard(page), expected));
const numbers = (count) => Array.from({ length: count }, (_, at) => String(at + 1));

/* Without a SharedWorker the tab that has the lock holds the connection. */
const WAYS = { 'a SharedWorker': '', 'an elected tab': 'delete window.SharedWorker' };

for (const [way, prepare] of Object.entries(WAYS)) {
  for (const transports of [['websocket'], ['sse'], ...(isLong ? [['stream'], ['poll']] : [])]) {
    test(`ten tabs share one connection of ${way} over ${transports}`, async () => {
      const context = await browser.newContext();
      const channel = `tabs/${transports}/${prepare.length}`;
      const pages = [];
      for (let tab = 0; tab < TABS; tab++) pages.push(await openTab(context, channel, { prepare, options: { transports } }));
      for (const text of numbers(5)) await publish(server, channel, text);
      for (const page of pages) await hears(page, numbers(5));
      if (transports[0] !== 'poll') await until(async () => (await openings(channel)) === 1, 'one connection');
      await pages.shift().close(); // where a tab has been elected, that one
      for (const text of numbers(10).slice(5)) await publish(server, channel, text);
      for (const page of pages) await hears(page, numbers(10));
      assert.equal(await pages[0].evaluate(async (name) => (await client.publish(name, '11')).channel, channel), channel);
      for (const page of pages) await hears(page, numbers(11));
      const late = await openTab(context, channel, { prepare, options: { transports } });
      await hears(late, numbers(11));
      await context.close();
    });
  }
}

test('a tab that crashes or hangs while it has the connection is replaced', async () => {
  const context = await browser.newContext();
  const pages = [];
  for (let tab = 0; tab < 3; tab++) pages.push(await openTab(context, 'crash', { prepare: WAYS['an elected tab'] }));
  await publish(server, 'crash', '1');
  for (const page of pages) await hears(page, ['1']);
  const [first, ...others] = pages;
  const crash = await context.newCDPSession(first);
  crash.send('Page.crash').catch(() => {});
  await publish(server, 'crash', '2');
  for (const page of others) await hears(page, ['1', '2']);
  await context.close();
});

test('a frozen tab holds up nobody, and has missed nothing when it resumes', async () => {
  const context = await browser.newContext();
  const pages = [];
  for (let tab = 0; tab < 3; tab++) pages.push(await openTab(context, 'frozen', { prepare: WAYS['an elected tab'] }));
  await publish(server, 'frozen', '1');
  for (const page of pages) await hears(page, ['1']);
  const [first, ...others] = pages;
  const session = await context.newCDPSession(first);
  await session.send('Page.setWebLifecycleState', { state: 'frozen' });
  await publish(server, 'frozen', '2');
  for (const page of others) await hears(page, ['1', '2']);
  await publish(server, 'frozen', '3');
  await session.send('Page.setWebLifecycleState', { state: 'active' });
  for (const page of pages) await hears(page, ['1', '2', '3']);
  await context.close();
});

for (const [way, { options, prepare }] of Object.entries({ 'a SharedWorker': {}, 'an elected tab': { prepare: 'delete window.SharedWorker' }, 'its own': { options: { share: false } } })) {
  test(`a page that is left and comes back from the back-forward cache goes on where it was, over the connection of ${way}`, async () => {
    const context = await browser.newContext();
    const channel = `bfcache/${way.split(' ').pop()}`;
    const page = await openTab(context, channel, { path: '/index.html', options, prepare }); // browsers keep no page that is not to be stored
    await publish(server, channel, '1');
    await hears(page, ['1']);
    await page.evaluate(() => { addEventListener('pageshow', ({ persisted }) => { window.persisted = persisted; }); });
    await page.goto(`${server.origin}/readyz`);
    await publish(server, channel, '2');
    await page.goBack({ waitUntil: 'commit' }); // nothing is loaded
    await until(() => page.evaluate(() => window.persisted), 'a page of the cache');
    await hears(page, ['1', '2']);
    await context.close();
  });
}

for (const transports of [undefined, ['sse'], ['poll']]) {
  test(`a laptop that is offline misses nothing over ${transports ?? 'whatever works'}`, async () => {
    const context = await browser.newContext();
    const channel = `offline/${transports}`;
    const page = await openTab(context, channel, { options: { share: false, transports, heartbeat: 2 } });
    await publish(server, channel, '1');
    await hears(page, ['1']);
    await context.setOffline(true);
    await publish(server, channel, '2');
    await pause(OFFLINE_MS);
    await context.setOffline(false);
    await publish(server, channel, '3');
    await hears(page, ['1', '2', '3']);
    await context.close();
  });
}

test('random cuts are not seen', async () => {
  const proxy = await startProxy(server.port);
  const context = await browser.newContext();
  const page = await openTab(context, 'cuts', { origin: proxy.origin });
  for (let cut = 0; cut < CUTS; cut++) {
    await publish(server, 'cuts', String(2 * cut + 1));
    await pause(1000 * Math.random());
    proxy.cut();
    await publish(server, 'cuts', String(2 * cut + 2));
    await pause(500 * Math.random());
  }
  await until(async () => (await heard(page)).length >= 2 * CUTS, 'all messages');
  await hears(page, numbers(2 * CUTS));
  assert.deepEqual(await page.evaluate(() => resets), []);
  await context.close();
});

test('WebSockets are blocked, then streams buffered, then all cut, while twenty publish', async () => {
  const proxy = await startTrouble(server.port);
  const context = await browser.newContext();
  const page = await openTab(context, 'stages', { origin: proxy.origin });
  let isOver = false;
  let count = 0;
  const publishing = Promise.all(Array.from({ length: 20 }, async () => {
    while (!isOver) {
      await publish(server, 'stages', String(++count));
      await pause(200);
    }
  }));
  for (const mode of ['pass', 'no-upgrade', 'buffer', 'cut', 'pass']) {
    proxy.mode = mode;
    proxy.cut(1);
    await pause(2000);
  }
  isOver = true;
  await publishing;
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await until(async () => (await heard(page)).length >= count, `${count} messages`);
  const kept = await (await fetch(`${server.origin}/channels/stages?transport=json&wait=0&since=earliest`)).json();
  assert.deepEqual(await heard(page), kept.messages.map(({ data }) => data));
  assert.deepEqual(await page.evaluate(() => resets), []);
  await context.close();
});

test('the server ends in order after all that', async () => {
  await browser.close();
  await stop(server);
  assert.deepEqual(faults, []);
});
