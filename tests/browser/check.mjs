// SPDX-License-Identifier: MIT
// The page that tells what passes between a browser and the server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, screenshot, start, startProxy, stop, until, watchFaults } from './support.mjs';

const faults = [];
let server;
let browser;

before(async () => {
  server = await start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await stop(server);
});

async function open(origin, hold) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  watchFaults(page, faults);
  await page.goto(`${origin}/check.html?hold=${hold}`);
  return page;
}

async function findings(page) {
  await until(async () => await page.textContent('#state') === 'done', 'the end of the check');
  const rows = await page.locator('#ways tr').evaluateAll((all) => all.map((row) => [row.firstChild.textContent, row.lastChild.textContent]));
  return Object.fromEntries(rows);
}

test('everything passes where nothing stands between, and the report says so', async () => {
  const page = await open(server.origin, 1);
  await screenshot(page, 'check-running');
  assert.deepEqual(await findings(page), { websocket: 'passes', sse: 'passes', stream: 'passes', poll: 'passes' });
  assert.equal(await page.textContent('#summary'), 'Everything passes.');
  const report = await page.textContent('#report');
  assert.match(report, /^websocket +\d+ ms +11 of 11 +\d+ ms, \d+ ms +passes$/m);
  assert.match(report, /^publishing by POST: 6 of 6, \d+ ms\npublishing by WebSocket: 5$/m);
  assert.match(report, /Chrom/);
  await page.click('#copy');
  assert.match(await page.textContent('#copy'), /Copied|Selected/);
  assert.equal(await page.evaluate(() => String(getSelection())).then((text) => text.trim()), report.trim());
  await screenshot(page, 'check-passes');
  await page.selectOption('#hold', '1');
  await page.fill('#channel', 'check/mine');
  await page.click('#form button');
  await until(async () => await page.textContent('#state') === 'running', 'the second check');
  assert.deepEqual(Object.values(await findings(page)), Array(4).fill('passes'));
  assert.match(await page.textContent('#report'), /channel check\/mine/);
  await page.close();
});

test('what a proxy holds back is named', async () => {
  const proxy = await startProxy(server.port);
  proxy.isBuffering = true;
  const page = await open(proxy.origin, 1);
  const found = await findings(page);
  assert.match(found.sse, /^held back: nothing came in \d+ s$/);
  assert.match(found.stream, /^held back: nothing came in \d+ s$/);
  assert.deepEqual([found.websocket, found.poll], ['passes', 'passes']);
  assert.match(await page.textContent('#summary'), /^websocket, poll pass: the client library goes by websocket/);
  await screenshot(page, 'check-held-back');
  await page.close();
  proxy.stop();
});

test('what is cut is named, with the time', async () => {
  const proxy = await startProxy(server.port);
  const page = await open(proxy.origin, 6);
  await until(async () => (await page.locator('#ways td:nth-child(3)').allTextContents()).every((text) => text === '10 of 10'), 'all messages');
  proxy.cut();
  const found = await findings(page);
  for (const way of ['websocket', 'sse', 'stream']) assert.match(found[way], /^cut after \d+\.\d s: /);
  assert.match(found.poll, /^passes$|^cut after /); // a browser may ask again by itself
  await screenshot(page, 'check-cut');
  await page.close();
  proxy.stop();
});

test('a server that wants a token says so, and a narrow window shows the findings', async () => {
  const guarded = await start(0, ['--subscribe', 'nobody', '--publish', 'nobody']);
  const page = await open(guarded.origin, 0);
  await page.setViewportSize({ width: 360, height: 800 });
  const found = await findings(page);
  assert.match(found.poll, /^does not pass: answered 40[13] \(/);
  assert.match(found.stream, /^does not pass: answered 40[13] \(/);
  assert.match(found.websocket, /^does not pass: (no-token|forbidden-channel)/);
  assert.match(await page.textContent('#summary'), /^Nothing could be published/);
  assert.equal(await page.locator('#ways td:last-child').first().isVisible(), true);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  await screenshot(page, 'check-refused');
  await page.close();
  await stop(guarded);
});

test('no script of the page failed', () => assert.deepEqual(faults, []));
