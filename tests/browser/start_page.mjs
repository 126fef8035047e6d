// SPDX-License-Identifier: MIT
// The start page in Debian's chromium, against a real server.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const { SLUICE, SOURCE_DIR, SCREENSHOTS } = process.env;
const folder = mkdtempSync(join(tmpdir(), 'sluice-browser-'));
const faults = [];
let server;
let browser;

async function until(condition, what) {
  for (const end = Date.now() + 20000; Date.now() < end;) {
    const value = await condition();
    if (value) return value;
    await new Promise((resume) => setTimeout(resume, 10));
  }
  throw new Error(`${what} did not come true`);
}

async function start(port = 0) {
  const ready = join(folder, `ready-${Date.now()}`);
  const child = spawn(SLUICE, ['serve', '--http', `127.0.0.1:${port}`, '--ready-file', ready, '--drain-time', '0.1',
    '--retry', '0.2', '--static-dir', join(SOURCE_DIR, 'static')], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (text) => { log += text; });
  await until(() => existsSync(ready) || child.exitCode !== null, 'the server\'s start');
  assert.equal(child.exitCode, null, log);
  return { child, port: Number(readFileSync(ready, 'utf8').trim().split(':').pop()), log: () => log };
}

async function stop({ child, log }) {
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
  assert.equal(child.exitCode, 0, log());
}

const url = (path) => `http://127.0.0.1:${server.port}${path}`;

async function publish(channel, text, event = '') {
  const response = await fetch(url(`/channels/${channel}${event && `?event=${event}`}`), {
    method: 'POST', body: text, headers: { 'Content-Type': 'text/plain' },
  });
  assert.equal(response.status, 201);
}

async function openPage(channel, { state = 'live', origin = url(''), ...options } = {}) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
  page.on('pageerror', (fault) => faults.push(String(fault)));
  page.on('console', (line) => { if (/Content Security Policy/.test(line.text())) faults.push(line.text()); });
  await page.goto(`${origin}/#${channel}`);
  await page.waitForSelector(`#state[data-state="${state}"]`);
  return page;
}

/* A proxy before the server, which can cut every connection, and answer 503 in the server's place for a while. */
async function startProxy() {
  const proxy = { refused: 0, isFull: false, sockets: new Set() };
  const listener = createServer((client) => {
    proxy.sockets.add(client);
    client.on('close', () => proxy.sockets.delete(client)).on('error', () => {});
    if (proxy.isFull) {
      client.once('data', () => {
        proxy.refused++;
        const body = '{"error":"full","message":"the server is full: try again later"}';
        client.end(`HTTP/1.1 503 Full\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      });
      return;
    }
    const upstream = connect(server.port, '127.0.0.1').on('error', () => client.destroy());
    client.on('close', () => upstream.destroy()).pipe(upstream).pipe(client);
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  proxy.origin = `http://127.0.0.1:${listener.address().port}`;
  proxy.cut = () => { for (const socket of proxy.sockets) socket.destroy(); };
  proxy.stop = () => { listener.close(); proxy.cut(); };
  return proxy;
}

async function screenshot(page, name) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true, animations: 'disabled' });
}

const rows = async (page) => (await page.locator('#messages pre').allTextContents()).reverse();

before(async () => {
  server = await start();
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
});

after(async () => {
  await browser?.close();
  await stop(server);
  rmSync(folder, { recursive: true });
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
  await until(async () => (await (await fetch(url('/api/channels/second/one'))).json()).subscribers?.sse === 1, 'a subscriber');
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

test('EventSource comes back after a restart with its id and misses nothing', async () => {
  const page = await openPage('restart');
  await publish('restart', 'before');
  await page.waitForSelector('pre:text("before")');
  const { port } = server;
  const requests = [];
  page.on('request', (request) => { if (request.url().includes('/channels/restart')) requests.push(request.allHeaders()); });
  await stop(server);
  await page.waitForSelector('#state[data-state="reconnecting"]');
  server = await start(port);
  for (const text of ['1', '2', '3']) await publish('restart', text);
  await until(async () => (await rows(page)).length >= 4, 'all rows');
  await publish('restart', '4');
  await until(async () => (await rows(page)).length >= 5, 'the last row');
  assert.deepEqual(await rows(page), ['before', '1', '2', '3', '4']);
  assert.match((await requests.at(-1))['last-event-id'], /^\w{12}-1$/);
  assert.equal(await page.locator('.reset').count(), 1);
  assert.equal(await page.locator('.unshown').count(), 0);
  await page.close();
});

test('a refused reconnect is explained, and then nothing is missed or shown twice', async () => {
  const proxy = await startProxy();
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
  await page.waitForSelector('#state[data-state="live"]');
  assert.equal(await page.locator('#reason').isVisible(), false);
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
  const proxy = await startProxy();
  await publish('no-id-yet', 'old');
  const page = await openPage('no-id-yet', { origin: proxy.origin });
  await page.waitForFunction(() => performance.getEntriesByType('resource').some(({ name }) => name.includes('since=now')));
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

test('names that EventSource uses itself are shown once, as what they are', async () => {
  const page = await openPage('names');
  await page.fill('#events', 'message, error, open, reset, goal');
  await page.press('#events', 'Enter');
  for (const name of ['', 'message', 'error', 'open', 'goal']) await publish('names', `by ${name}`, name);
  await until(async () => (await rows(page)).includes('by goal'), 'the last row');
  assert.deepEqual(await rows(page), ['by ', 'by message', 'by error', 'by open', 'by goal']);
  assert.equal(await page.locator('#state').textContent(), 'live');
  assert.equal(await page.locator('.reset').count(), 0);
  await page.close();
});

test('messages with names that are not listened to are counted, and shown once they are', async () => {
  const page = await openPage('unlisted');
  await publish('unlisted', '1');
  await publish('unlisted', '2', 'goal');
  await publish('unlisted', '3', 'card');
  await publish('unlisted', '4');
  await page.waitForSelector('#messages .unshown:has-text("2 messages not shown")');
  await page.fill('#events', 'goal');
  await page.press('#events', 'Enter');
  await publish('unlisted', '5', 'goal');
  await until(async () => (await rows(page)).includes('5'), 'the listed event');
  assert.deepEqual(await rows(page), ['1', '4', '5']);
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
