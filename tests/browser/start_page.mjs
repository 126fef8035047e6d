// The start page in Debian's chromium, against a real server.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
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

async function publish(channel, text) {
  const response = await fetch(url(`/channels/${channel}`), { method: 'POST', body: text, headers: { 'Content-Type': 'text/plain' } });
  assert.equal(response.status, 201);
}

async function openPage(channel, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
  page.on('pageerror', (fault) => faults.push(String(fault)));
  await page.goto(url(`/#${channel}`));
  await page.waitForSelector('#state[data-state="live"]');
  return page;
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
  await page.waitForSelector('.reset:text("purged")');
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
  await page.close();
});

for (const [name, options] of Object.entries({
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { colorScheme: 'light', viewport: { width: 360, height: 740 } },
})) {
  test(`the page fits and can be looked at: ${name}`, async () => {
    const page = await openPage(`look-${name}`, options);
    if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}-empty.png`), fullPage: true });
    await publish(`look-${name}`, 'follow the white rabbit');
    await publish(`look-${name}`, JSON.stringify({ score: [1, 0], team: 'a'.repeat(90) }));
    await fetch(url(`/api/channels/look-${name}`), { method: 'DELETE' });
    await publish(`look-${name}`, 'knock, knock');
    await page.waitForSelector('pre:text("knock")');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, 'scrolls sideways');
    if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
    await page.close();
  });
}

test('nothing went wrong in any page', () => {
  assert.deepEqual(faults, []);
});
