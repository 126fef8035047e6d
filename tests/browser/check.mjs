// SPDX-License-Identifier: MIT
// The page that tells what passes between a browser and the server.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { launch, place, screenshot, start, startProxy, stop, until, watchFaults } from './support.mjs';

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
  await until(async () => String(await page.locator('#ways td:nth-child(3)').allTextContents()) === String(Array(4).fill('10 of 10')), 'all messages');
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

test('a link brings its token, and without one a server that wants one is told from a network that does not pass', async () => {
  const key = place('check-key');
  writeFileSync(key, 'a secret of more than thirty-two bytes\n');
  const token = execFileSync(process.env.SLUICE, ['token', '--key', key, '--subscribe', 'mine/**', '--publish', 'mine/**'], { encoding: 'utf8' }).trim();
  const guarded = await start(0, ['--jwt-key', `HS256:${key}`]);
  const page = await open(guarded.origin, 0);
  const refused = await findings(page);
  assert.match(refused.sse, /^does not pass: answered 401 \(no-token\)/);
  assert.match(await page.textContent('#summary'), /^The server wants a token/);
  await page.goto('about:blank');
  await page.goto(`${guarded.origin}/check.html#hold=1&channel=mine/check&token=${token}`);
  assert.deepEqual(Object.values(await findings(page)), Array(4).fill('passes'));
  const report = await page.textContent('#report');
  assert.match(report, /channel mine\/check\n.*held for 1 s/);
  assert.ok(!report.includes(token) && !page.url().includes(token));
  await page.close();
  await stop(guarded);
});

test('who says that he stands between is in the report', async () => {
  const page = await browser.newPage();
  watchFaults(page, faults);
  await page.route('**/channels/**', async (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    const response = await route.fetch();
    return route.fulfill({ response, headers: { ...response.headers(), via: '1.1 strict.example' } });
  });
  await page.goto(`${server.origin}/check.html?hold=0`);
  await findings(page);
  assert.match(await page.textContent('#report'), /^between, as it says: 1\.1 strict\.example$/m);
  await page.close();
});

test('no script of the page failed', () => assert.deepEqual(faults, []));
