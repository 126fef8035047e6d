// SPDX-License-Identifier: MIT
// The start page in Debian's chromium, against a real server.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { kill, launch, publish as publishTo, screenshot, start, startProxy, startRedis, stop, until, watchFaults } from './support.mjs';

const faults = [];
let server;
let browser;

const url = (path) => `${server.origin}${path}`;
const publish = (channel, text, event) => publishTo(server, channel, text, event);

async function openPage(channel, { state = 'live', origin = url(''), ...options } = {}) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
  watchFaults(page, faults);
  await page.goto(`${origin}/#${channel}`);
  await page.waitForSelector(`#state[data-state="${state}"]`);
  return page;
}

const rows = async (page) => (await page.locator('#messages pre').allTextContents()).reverse();

before(async () => {
  server = await start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await stop(server);
});

test('the feed shows what is published over HTTP', async () => {
  const page = await openPage('feed');
  assert.equal(await page.locator('#empty').isVisible(), true);
  await publish('feed', 'one\ntwo');
  await publish('feed', '<b>three</b>');
  await until(async () => (await rows(page)).length === 2, 'two rows');
  assert.deepEqual(await rows(page), ['one\ntwo', '<b>three</b>']);
  assert.equal(await page.locator('#empty').isVisible(), false);
  await page.close();
});

test('the form publishes text, JSON and named events, and shows errors', async () => {
  const page = await openPage('form');
  await page.fill('#data', 'hello');
  await page.click('#publish-form button');
  await page.waitForSelector('text=/Accepted as \\w{12}-1/');
  await page.fill('#data', '{"a":');
  await page.selectOption('#type', 'application/json');
  await page.click('#publish-form button');
  await page.waitForSelector('output.fault');
  assert.match(await page.textContent('#published'), /line 1, column/);
  await page.fill('#data', '{"a":1}');
  await page.fill('#event', 'goal');
  await page.click('#publish-form button');
  await page.waitForSelector('#messages .event:text("goal")');
  await page.close();
});

test('another channel is followed and kept in the address', async () => {
  const page = await openPage('first');
  await page.fill('#channel', 'second/one');
  await page.click('#channel-form button');
  await page.waitForFunction(() => document.title.startsWith('second/one'));
  await page.waitForSelector('#state[data-state="live"]');
  await until(async () => (await (await fetch(url('/api/channels/second/one'))).json()).subscribers?.stream === 1, 'a subscriber');
  await publish('second/one', 'here');
  await page.waitForSelector('pre:text("here")');
  assert.match(await page.textContent('#lines'), /channels\/second\/one/);
  await page.close();
});

test('a purge is shown as a reset', async () => {
  const page = await openPage('purge');
  await publish('purge', 'x');
  await page.waitForSelector('pre:text("x")');
  await fetch(url('/api/channels/purge'), { method: 'DELETE' });
  await page.waitForSelector('.reset:has-text("purged")');
  await page.close();
});

test('what Redis has lost is struck out, and said while it is away', async () => {
  let { child, socket } = await startRedis('page');
  const node = await start(0, ['--broker', `unix://${socket}`]);
  await until(async () => (await fetch(`${node.origin}/readyz`)).ok, 'Redis');
  const page = await openPage('lost', { origin: node.origin });
  for (const text of ['1', '2', '3']) {
    if (text === '2') execFileSync('redis-cli', ['-s', socket, 'save']);
    await publishTo(node, 'lost', text);
  }
  await until(async () => (await rows(page)).length === 3, 'all rows');
  await kill(child);
  await page.click('#publish-form button');
  await page.waitForSelector('output.fault:has-text("broker")');
  await screenshot(page, 'away');
  ({ child } = await startRedis('page'));
  await page.waitForSelector('.reset:has-text("(failover): the broker lost messages. The last 2 that were shown here are gone.")');
  assert.deepEqual(await page.locator('#messages .gone pre').allTextContents(), ['3', '2']);
  await publishTo(node, 'lost', '4');
  await until(async () => (await rows(page)).includes('4'), 'the last row');
  assert.deepEqual(await rows(page), ['1', '2', '3', '4']);
  await screenshot(page, 'lost');
  await page.close();
  await stop(node);
  await kill(child);
});

test('the feed comes back after a restart with its cursor and misses nothing', async () => {
  const page = await openPage('restart');
  await publish('restart', 'before');
  await page.waitForSelector('pre:text("before")');
  const { port } = server;
  const requests = [];
  page.on('request', (request) => { if (request.url().includes('/channels/restart')) requests.push(request.url()); });
  await stop(server);
  await page.waitForSelector('#state[data-state="reconnecting"]');
  server = await start(port);
  for (const text of ['1', '2', '3']) await publish('restart', text);
  await until(async () => (await rows(page)).length >= 4, 'all rows');
  await publish('restart', '4');
  await until(async () => (await rows(page)).length >= 5, 'the last row');
  assert.deepEqual(await rows(page), ['before', '1', '2', '3', '4']);
  assert.ok(requests.some((request) => /[?&]since=\w{12}-1(&|$)/.test(request)), requests.join());
  assert.equal(await page.locator('.reset').count(), 1);
  await page.close();
});

test('a refused reconnect is explained, and then nothing is missed or shown twice', async () => {
  const proxy = await startProxy(server.port);
  const page = await openPage('given-up', { origin: proxy.origin });
  await publish('given-up', '1');
  await page.waitForSelector('pre:text("1")');
  proxy.isFull = true;
  proxy.cut();
  await page.waitForSelector('#reason:has-text("the server is full")');
  await screenshot(page, 'given-up');
  await publish('given-up', '2');
  proxy.isFull = false;
  await until(async () => (await rows(page)).length === 2, 'what was published meanwhile');
  await page.waitForSelector('#state:is([data-state="live"], [data-state="polling"])'); // whichever came through first
  assert.equal(await page.locator('#reason:has-text("the server is full")').isVisible(), false);
  await publish('given-up', '3');
  await until(async () => (await rows(page)).length === 3, 'the third row');
  proxy.cut();
  await page.waitForSelector('#state[data-state="reconnecting"]');
  await publish('given-up', '4');
  await until(async () => (await rows(page)).includes('4'), 'the last row');
  assert.deepEqual(await rows(page), ['1', '2', '3', '4']);
  assert.ok(proxy.refused > 0);
  await page.close();
  proxy.stop();
});

test('a refused reconnect before the first message misses nothing', async () => {
  const proxy = await startProxy(server.port);
  await publish('no-id-yet', 'old');
  const page = await openPage('no-id-yet', { origin: proxy.origin });
  proxy.isFull = true;
  proxy.cut();
  await page.waitForSelector('#reason:has-text("the server is full")');
  await publish('no-id-yet', 'meanwhile');
  proxy.isFull = false;
  await until(async () => (await rows(page)).length > 0, 'what was published meanwhile');
  assert.deepEqual(await rows(page), ['meanwhile']);
  await page.close();
  proxy.stop();
});

test('a channel that cannot be is refused with the reason', async () => {
  for (const channel of ['a%20b', 'up/../down', '%']) {
    const page = await openPage(channel, { state: 'refused' });
    assert.match(await page.textContent('#reason'), /name/);
    assert.equal(await page.locator('#lines').isVisible(), false);
    await screenshot(page, 'refused');
    await page.fill('#channel', 'better');
    await page.click('#channel-form button');
    await page.waitForSelector('#state[data-state="live"]');
    await page.close();
  }
});

test('messages are shown with the names of their events, and by their kind', async () => {
  const page = await openPage('names');
  for (const name of ['', 'message', 'goal']) await publish('names', `by ${name}`, name);
  for (const [type, body] of [['application/json', '{"a": [1, 0.1]}'], ['application/octet-stream', new Uint8Array([0, 255])]]) {
    await fetch(url('/channels/names'), { method: 'POST', headers: { 'Content-Type': type }, body });
  }
  await until(async () => (await rows(page)).length === 5, 'all rows');
  assert.deepEqual(await rows(page), ['by ', 'by message', 'by goal', '{"a":[1,0.1]}', 'AP8=']);
  assert.deepEqual(await page.locator('#messages .event').allTextContents(), ['goal', 'message']);
  await page.close();
});

test('without a name in the address it is the channel of the tour', async () => {
  const page = await browser.newPage();
  await page.goto(url('/'));
  await page.waitForSelector('#state[data-state="live"]');
  await page.fill('#data', 'by keys');
  await page.press('#data', 'Control+Enter');
  await page.waitForSelector('pre:text("by keys")');
  assert.equal(await (await fetch(url('/channels/news?last=1'))).text(), 'by keys');
  await page.close();
});

test('the channels are listed in a table, and followed from there', async () => {
  const page = await openPage('listed');
  await publish('listed', 'x');
  await page.waitForSelector('#channels tr:has(a:text-is("listed")):has(td:text-is("1"))');
  await publish('listed/other', 'x');
  await page.click('#channels a:text-is("listed/other")', { timeout: 20000 });
  await page.waitForFunction(() => document.title.startsWith('listed/other'));
  await page.waitForSelector('#channels a[aria-current]:text-is("listed/other")');
  await page.close();
});

test('behind a proxy that buffers, the feed says so and goes on by long-poll', async () => {
  const proxy = await startProxy(server.port);
  proxy.isBuffering = true;
  const page = await openPage('buffered', { origin: proxy.origin, state: 'polling' });
  assert.match(await page.textContent('#reason'), /a proxy .* buffering/);
  for (const text of ['1', '2', '3']) await publish('buffered', text, text === '2' ? 'goal' : '');
  await until(async () => (await rows(page)).length === 3, 'all rows');
  await fetch(url('/api/channels/buffered'), { method: 'DELETE' });
  await page.waitForSelector('.reset'); // purged, or epoch between two polls
  await screenshot(page, 'buffered');
  await publish('buffered', '4');
  await until(async () => (await rows(page)).length === 4, 'the last row');
  assert.deepEqual(await rows(page), ['1', '2', '3', '4']);
  await page.close();
  proxy.stop();
});

test('without JavaScript the page says what to do in a terminal', async () => {
  const page = await browser.newPage({ javaScriptEnabled: false });
  await page.goto(url('/'));
  assert.equal(await page.locator('noscript code').first().isVisible(), true);
  await screenshot(page, 'noscript');
  await page.close();
});

test('the feed keeps 200 rows and can be cleared', async () => {
  const page = await openPage('many');
  const batch = Array.from({ length: 250 }, (_, i) => ({ channel: 'many', data: `m${i}` }));
  await fetch(url('/channels'), { method: 'POST', body: JSON.stringify(batch) });
  await page.waitForSelector('pre:text-is("m249")');
  assert.equal(await page.locator('#messages li').count(), 200);
  await page.click('#clear');
  assert.equal(await page.locator('#messages li').count(), 0);
  assert.equal(await page.locator('#empty').isVisible(), true);
  await page.close();
});

test('every curl line is copied as shown and does what it says', async () => {
  const page = await openPage("it's", { permissions: ['clipboard-read', 'clipboard-write'] });
  const lines = await page.locator('#lines code').allTextContents();
  assert.equal(lines.length, 7);
  await page.locator('#lines button').first().click();
  await page.waitForSelector('#lines button:text("Copied")');
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), lines[0]);
  for (const line of lines.filter((text) => text.includes(' -d '))) {
    const [output] = await once(spawn('sh', ['-c', line], { stdio: ['ignore', 'pipe', 'ignore'] }).stdout, 'data');
    assert.match(String(output), /"id":"\w{12}-\d+"/, line);
  }
  await until(async () => (await rows(page)).length === 4, 'what the lines published');
  for (const line of lines.filter((text) => !text.includes(' -d '))) {
    const child = spawn('sh', ['-c', `exec ${line}`], { stdio: ['ignore', 'pipe', 'ignore'] });
    let seen = '';
    child.stdout.on('data', (text) => { seen += text; });
    await until(async () => {
      if (!seen.includes('knock')) await publish("it's", 'knock');
      return seen.includes('knock') || seen.includes('"messages"');
    }, line);
    child.kill();
  }
  await page.close();
});

for (const [name, options] of Object.entries({
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { colorScheme: 'light', viewport: { width: 360, height: 740 } },
})) {
  test(`the page fits and can be looked at: ${name}`, async () => {
    const page = await openPage(`look-${name}`, options);
    await screenshot(page, `${name}-empty`);
    await publish(`look-${name}`, 'follow the white rabbit');
    await publish(`look-${name}`, JSON.stringify({ score: [1, 0], team: 'a'.repeat(90) }));
    await fetch(url(`/api/channels/look-${name}`), { method: 'DELETE' });
    await publish(`look-${name}`, 'knock, knock');
    await publish(`look-${name}`, 'not asked for', 'card');
    await page.fill('#event', 'goal');
    await page.click('#publish-form button');
    await page.waitForSelector('#messages .event:text("goal")');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, 'scrolls sideways');
    await screenshot(page, name);
    await page.close();
  });
}

test('nothing went wrong in any page', () => {
  assert.deepEqual(faults, []);
});
