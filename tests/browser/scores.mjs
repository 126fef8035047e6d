// SPDX-License-Identifier: MIT
// The score board: what redis-cli and HTTP publish comes to two pages, raw TCP and a long-poll with curl alike.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { endExample, runExample } from './examples.mjs';
import { launch, screenshot, until, watchFaults } from './support.mjs';

const run = promisify(execFile);
const faults = [];
let example;
let browser;

before(async () => {
  example = await runExample('scores');
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await endExample(example);
  assert.deepEqual(faults, []);
});

const score = (match, home, away) => ({ match, home, away, scorer: 'Nobody' });
const byRedis = (said) => run('redis-cli', ['-p', String(example.port + 1), 'PUBLISH', 'scores', typeof said === 'string' ? said : JSON.stringify(said)]);
const byHttp = (said) => fetch(`${example.origin}/channels/scores`, {
  method: 'POST', body: JSON.stringify(said), headers: { 'Content-Type': 'application/json' },
});

async function open() {
  const page = await browser.newPage({ viewport: { width: 900, height: 600 } });
  watchFaults(page, faults);
  await page.goto(`${example.origin}/examples/scores/`);
  await page.waitForSelector('#state[data-state="live"]');
  return page;
}

const shown = (page, match) => page.locator(`#matches tr:has(th:text-is("${match}")) .number`).textContent({ timeout: 20000 });
const shows = (page, match, expected) => until(async () => (await shown(page, match)) === expected, `${match} ${expected}`);

test('goals come to pages, raw TCP and a long-poll, whichever way they were published', async () => {
  const pages = [await open(), await open()];
  let lines = '';
  const tcp = connect(example.port + 2, '127.0.0.1').on('data', (text) => { lines += text; });
  for (const [publish, home] of [[byRedis, 1], [byHttp, 2], [byRedis, 3]]) {
    const goal = score('Test - Match', home, 0);
    const { stdout } = await run('curl', ['-si', `${example.origin}/channels/scores?wait=0`]);
    const [, cursor] = /^ETag: "(.*)"\r$/mi.exec(stdout);
    await publish(goal);
    for (const page of pages) await shows(page, 'Test - Match', `${home} : 0`);
    await until(() => lines.includes(JSON.stringify(goal)), 'the goal over TCP');
    let polled = '';
    let since = cursor;
    while (!polled.includes('Test - Match')) { // the example's own matches go on meanwhile
      const answer = await run('curl', ['-sS', '-H', 'Accept: application/json', `${example.origin}/channels/scores?since=${since}`]);
      const batch = JSON.parse(answer.stdout);
      since = batch.cursor;
      polled += batch.messages.map(({ data }) => (typeof data === 'string' ? data : JSON.stringify(data))).join('\n');
    }
    assert.ok(polled.includes(JSON.stringify(goal)), polled);
  }
  await screenshot(pages[0], 'scores');
  tcp.destroy();
  for (const page of pages) await page.close();
});

test('who comes later sees what has been scored, and the example scores by itself', async () => {
  const page = await open();
  await shows(page, 'Test - Match', '3 : 0');
  await page.waitForSelector('#matches tr:has(th:text-is("Lockport - Millrace")), #matches tr:has(th:text-is("Tidebrook - Weirham"))');
  await page.close();
});

test('what is no score is passed over, and nothing becomes part of the page', async () => {
  const page = await open();
  for (const said of ['plain', '7', '[]', '{"match":"x"}', '{"match":7,"home":1,"away":1}', '{"match":"x","home":"1","away":0}', 'null']) await byRedis(said);
  await byHttp(score('<img src=x onerror="document.title=1">', 1, 1));
  await page.waitForSelector('#matches th:text-is(\'<img src=x onerror="document.title=1">\')');
  assert.equal(await page.locator('#matches img').count(), 0);
  assert.equal(await page.locator('#matches th:text-is("x")').count(), 0);
  assert.match(await page.title(), /^Score board/);
  await page.close();
});
