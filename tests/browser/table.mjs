// SPDX-License-Identifier: MIT
// The table viewer in Debian's chromium: whoever looks at a table sees the same, and each new upload at once.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { endExample, runExample } from './examples.mjs';
import { launch, screenshot, start, stop, until, watchFaults } from './support.mjs';

const faults = [];
let example;
let browser;

before(async () => {
  example = await runExample('table');
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await endExample(example);
  assert.deepEqual(faults, []);
});

async function open(query = '') {
  const page = await browser.newPage({ viewport: { width: 1100, height: 900 } });
  watchFaults(page, faults);
  await page.goto(`${example.origin}/examples/table/${query}`);
  await page.waitForSelector('#file');
  return page;
}

function makeRows(count, word = 'row') {
  const lines = ['name\tnumber\tsquare'];
  for (let i = 1; i <= count; i++) lines.push(`${word} ${i}\t${i}\t${i * i}`);
  return `${lines.join('\n')}\n`;
}

const give = (page, name, content) => page.setInputFiles('#file', {
  name: `${name}.tsv`, mimeType: 'text/tab-separated-values', buffer: Buffer.from(content),
});
const first = (page) => page.locator('#body tr:first-child td').allTextContents();
async function shows(page, expected, what) {
  await until(async () => JSON.stringify(await first(page)) === JSON.stringify(expected), what)
    .catch(async () => assert.deepEqual(await first(page), expected));
}

test('a file that is dropped has its own address, pages and totals', async () => {
  const page = await open();
  await page.evaluate((text) => {
    const data = new DataTransfer();
    data.items.add(new File([text], 'dropped.tsv'));
    document.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
  }, makeRows(120));
  await shows(page, ['1', 'row 1', '1', '1'], 'the first page');
  assert.match(page.url(), /\?table=dropped$/);
  assert.equal(await page.textContent('#pages'), '3');
  assert.equal(await page.textContent('#rows'), '120');
  assert.deepEqual(await page.locator('#columns th').allTextContents(), ['', 'name', 'number', 'square']);
  assert.equal(await page.locator('#body tr').count(), 50);
  assert.ok(await page.isDisabled('#previous'));
  await page.click('#next');
  await shows(page, ['51', 'row 51', '51', '2601'], 'the second page');
  await page.click('#last');
  await shows(page, ['101', 'row 101', '101', '10201'], 'the last page');
  assert.ok(await page.isDisabled('#next'));
  await page.fill('#page', '2');
  await page.press('#page', 'Enter');
  await shows(page, ['51', 'row 51', '51', '2601'], 'the page that was asked for');
  assert.match(page.url(), /page=2/);
  await screenshot(page, 'table');
  await page.close();
});

test('everybody sees a new upload at once and stays on his page', async () => {
  const [ada, bob] = [await open(), await open('?table=shared&page=2')];
  await give(ada, 'shared', makeRows(120));
  await shows(ada, ['1', 'row 1', '1', '1'], 'the upload of ada');
  await shows(bob, ['51', 'row 51', '51', '2601'], 'the same for bob, who was there before it');
  const late = await open('?table=shared&page=3');
  await shows(late, ['101', 'row 101', '101', '10201'], 'who comes later');
  await give(bob, 'other-name', makeRows(70, 'new'));
  await shows(bob, ['51', 'new 51', '51', '2601'], 'bob\'s upload, on his page');
  await shows(ada, ['1', 'new 1', '1', '1'], 'on hers');
  await shows(late, ['51', 'new 51', '51', '2601'], 'the last one that there is');
  assert.equal(await late.inputValue('#page'), '2');
  assert.match(await ada.textContent('#news'), /new upload \(other-name\.tsv\)/);
  for (const page of [ada, bob, late]) await page.close();
});

test('bad rows are named by line and left out', async () => {
  const page = await open();
  const content = Buffer.concat([Buffer.from('a\tb\r\n1\t2\r\n3\r\n4\t5\t6\n7\t'), Buffer.from([0xff]), Buffer.from('\n8\t\0\n9\t10')]);
  await give(page, 'bad', content);
  await shows(page, ['1', '1', '2'], 'what is good');
  assert.deepEqual(await page.locator('#body tr').allTextContents(), ['112', '2910']);
  assert.equal(await page.textContent('#bad summary'), '4 rows left out');
  assert.deepEqual(await page.locator('#bad-rows li').allTextContents(), ['line 3 has 1 column instead of 2', 'line 4 has 3 columns instead of 2',
    'line 5 is not UTF-8 at byte 3', 'line 6 has a NUL byte']);
  await page.click('#bad summary');
  await screenshot(page, 'table-bad');
  await page.close();
});

test('what is no table is refused with the reason', async () => {
  const page = await open('?table=refused');
  for (const [content, reason] of [
    ['\n1\t2\n', /line 1 is empty/],
    [`${'x\t'.repeat(999999)}x\n`, /line 1 has 1000000 columns; at most 200/],
    [Buffer.from([0xff, 0xfe, 0x41]), /line 1 is not UTF-8 at byte 1/],
    ['', /the file is empty/],
    [Buffer.alloc(10 * 2 ** 20 + 1, 'a'), /at most 10,485,760 bytes/],
  ]) {
    await give(page, 'refused', content);
    await until(async () => reason.test(await page.textContent('#fault')), String(reason))
      .catch(async () => assert.match(await page.textContent('#fault'), reason));
    assert.equal(await page.isVisible('#going'), false);
  }
  assert.equal(await page.isVisible('#none'), true);
  await page.close();
});

test('ten megabytes go up with progress', async () => {
  const page = await open();
  const parts = [];
  page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => { if (Buffer.isBuffer(payload)) parts.push(payload.length); }));
  await page.evaluate(() => {
    window.progress = [];
    new MutationObserver(() => window.progress.push(document.getElementById('progress-label').textContent))
      .observe(document.getElementById('progress-label'), { childList: true, characterData: true, subtree: true });
  });
  const line = `${'x'.repeat(90)}\t123456789\n`;
  const content = `a\tb\n${line.repeat(Math.floor((10 * 2 ** 20 - 4) / line.length))}`;
  await give(page, 'large', content);
  await shows(page, ['1', 'x'.repeat(90), '123456789'], 'the first page');
  assert.equal(await page.textContent('#rows'), Math.floor((10 * 2 ** 20 - 4) / line.length).toLocaleString('en'));
  const progress = await page.evaluate(() => window.progress);
  assert.ok(progress.filter((text) => / % of /.test(text)).length >= 20, progress.join());
  assert.equal(parts.length, 40, 'each part is one binary message of a WebSocket');
  assert.equal(parts.reduce((sum, length) => sum + length), content.length);
  await page.click('#last');
  await until(async () => (await page.textContent('#body tr:last-child td:first-child')) === String(Math.floor((10 * 2 ** 20 - 4) / line.length)), 'the last page');
  await page.close();
});

/* Uploads by those who do not keep to what the page does. */

const makeKey = () => Array.from({ length: 24 }, () => 'abcdefghij'[Math.floor(Math.random() * 10)]).join('');
const tell = (request) => fetch(`${example.origin}/channels/tables/inbox`, {
  method: 'POST', body: JSON.stringify(request), headers: { 'Content-Type': 'application/json' },
});

async function sendParts(request, parts) {
  const key = makeKey();
  const answer = fetch(`${example.origin}/channels/tables/inbox/${key}/answer?since=earliest&transport=json`);
  await tell({ op: 'upload', key, table: 'lies', ...request });
  for (const part of parts) {
    await fetch(`${example.origin}/channels/tables/inbox/${key}`, { method: 'POST', body: part, headers: { 'Content-Type': 'application/octet-stream' } });
  }
  return (await (await answer).json()).messages[0].data;
}

test('an upload that lies is refused', async () => {
  const row = Buffer.from('a\tb\n1\t2\n');
  assert.match((await sendParts({ size: 100, parts: 1 }, [row])).error, /8 bytes came where 100 were announced/);
  assert.match((await sendParts({ size: 8, parts: 2 }, [row, row])).error, /more than the 8 bytes/);
  assert.match((await sendParts({ size: 0, parts: 1 }, [])).error, /size must be a whole number from 1 to 10485760/);
  assert.match((await sendParts({ size: 1e12, parts: 1 }, [])).error, /size must be/);
  assert.match((await sendParts({ size: true, parts: 1 }, [])).error, /size must be/);
  assert.match((await sendParts({ size: 8, parts: 1e9 }, [])).error, /parts must be/);
  for (const table of ['', '../x', 'a/b', 'inbox', 'x'.repeat(65), 7, null]) {
    assert.match((await sendParts({ size: 8, parts: 1, table }, [])).error, /table must be|cannot be named/);
  }
  for (const request of ['text', '[]', '{"op":"upload"}', '{"op":"page","table":{}}', '{"op":"page","table":"lies","page":"x"}', '{"key":7}', '{"op":[]}']) {
    await fetch(`${example.origin}/channels/tables/inbox`, { method: 'POST', body: request, headers: { 'Content-Type': 'application/json' } }).catch(() => {});
  }
  assert.equal((await sendParts({ size: 8, parts: 1 }, [row])).table, 'lies');
});

test('nobody but the program says what a table is, or reads what others ask for', async () => {
  for (const channel of ['tables/lies', 'tables/lies/x/1', `tables/inbox/${makeKey()}/answer`]) {
    assert.equal((await fetch(`${example.origin}/channels/${channel}`, { method: 'POST', body: 'x' })).status, 401);
  }
  assert.equal((await fetch(`${example.origin}/channels/tables/inbox?wait=0`)).status, 401);
});

test('cells are text, whatever they say', async () => {
  const page = await open();
  await give(page, 'hostile', '<b>a</b>\tb\n<img src=x onerror="document.title=1">\t<script>document.title=2</script>\n');
  await shows(page, ['1', '<img src=x onerror="document.title=1">', '<script>document.title=2</script>'], 'the row');
  assert.equal(await page.locator('#body img, #body script, #columns b').count(), 0);
  assert.match(await page.title(), /^hostile/);
  await page.close();
});

test('a narrow window is not scrolled sideways', async () => {
  const page = await browser.newPage({ viewport: { width: 360, height: 640 } });
  await page.goto(`${example.origin}/examples/table/`);
  await page.waitForSelector('#file');
  await give(page, 'narrow', makeRows(60));
  await page.waitForSelector('#body tr');
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
  await page.close();
});

test('where the program is missing the page says how it is started', async () => {
  const server = await start();
  const page = await browser.newPage();
  await page.goto(`${server.origin}/examples/table/`);
  await page.waitForSelector('#file');
  await give(page, 'unread', makeRows(1));
  await page.waitForSelector('#progress-label:has-text("contrib/examples/run table")');
  await page.close();
  await stop(server);
});
