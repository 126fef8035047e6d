// SPDX-License-Identifier: MIT
// The chat example in Debian's chromium: everybody in a room sees the same, over whichever transport.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { kill, launch, screenshot, start, startProxy, startRedis, stop, until, watchFaults } from './support.mjs';

const TRANSPORTS = ['websocket', 'sse', 'poll'];
const faults = [];
let server;
let browser;

before(async () => {
  server = await start(0, ['--history-size', '1000']); // a page that loads slowly has nothing to be told of
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await stop(server);
});

async function join(room, { name = '', transport = 'websocket', origin = server.origin, state = 'live', ...options } = {}) {
  const page = await browser.newPage({ viewport: { width: 1100, height: 800 }, ...options });
  watchFaults(page, faults);
  await page.addInitScript(([as, over]) => {
    if (as) localStorage.setItem('chat-name', as);
    localStorage.setItem('chat-transport', over);
  }, [name, transport]);
  await page.goto(`${origin}/examples/chat/#${room}`);
  await page.waitForSelector(`#state[data-state="${state}"]`);
  return page;
}

async function say(page, text) {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
}

const texts = (page) => page.locator('#said .text').allTextContents();
const rows = (page) => page.locator('#said li').evaluateAll((items) => items.map((item) => (
  item.classList.contains('gap') ? 'gap' : `${item.querySelector('.from').textContent}: ${item.querySelector('.text').textContent}`)));
async function shows(page, expected, what = expected.at(-1)) {
  await until(async () => (await rows(page)).length >= expected.length, `${what} in the room`)
    .catch(async () => assert.deepEqual(await rows(page), expected));
  assert.deepEqual(await rows(page), expected);
}
const post = (room, data, origin = server.origin) => fetch(`${origin}/channels/chat/${room}`, {
  method: 'POST', body: JSON.stringify(data), headers: { 'Content-Type': 'application/json' },
});

test('over every transport a room is the same to all, and says who wrote what', async () => {
  const pages = [];
  for (const transport of TRANSPORTS) pages.push(await join('all', { name: transport, transport }));
  const expected = [];
  for (const [i, page] of pages.entries()) {
    await say(page, `hello from ${TRANSPORTS[i]}`);
    expected.push(`${TRANSPORTS[i]}: hello from ${TRANSPORTS[i]}`);
    for (const other of pages) await shows(other, expected);
  }
  const late = await join('all', { name: 'late', transport: 'sse' });
  await shows(late, expected, 'history');
  assert.equal(await late.locator('#said .own').count(), 0);
  for (const [i, page] of pages.entries()) {
    assert.deepEqual(await page.locator('#said .own .from').allTextContents(), [TRANSPORTS[i]]);
    assert.equal(await page.locator('#outbox li').count(), 0);
  }
  for (const page of [...pages, late]) await page.close();
});

test('a server that comes back is found again, and nothing said meanwhile is missed or doubled', async () => {
  const { socket } = await startRedis('chat');
  let node = await start(0, ['--broker', `unix://${socket}`]);
  await until(async () => (await fetch(`${node.origin}/readyz`)).ok, 'Redis');
  const pages = [];
  for (const transport of TRANSPORTS) pages.push(await join('restart', { name: transport, transport, origin: node.origin }));
  await say(pages[0], 'before');
  for (const page of pages) await shows(page, ['websocket: before']);
  await stop(node);
  for (const page of pages) await page.waitForSelector('#state[data-state="reconnecting"]');
  await say(pages[1], 'said while away');
  await pages[1].waitForSelector('#outbox .sending');
  await screenshot(pages[1], 'chat-away');
  node = await start(node.port, ['--broker', `unix://${socket}`]);
  await until(async () => (await fetch(`${node.origin}/readyz`)).ok, 'Redis');
  for (const page of pages) await shows(page, ['websocket: before', 'sse: said while away']);
  await say(pages[2], 'after');
  for (const page of pages) {
    await shows(page, ['websocket: before', 'sse: said while away', 'poll: after']);
    assert.equal(await page.locator('#reason').isVisible(), false);
    await page.close();
  }
  await stop(node);
});

test('a room that is lost with its server is told as a gap', async () => {
  const node = await start();
  const pages = [];
  for (const transport of TRANSPORTS) pages.push(await join('memory', { name: transport, transport, origin: node.origin }));
  await say(pages[0], 'before');
  for (const page of pages) await shows(page, ['websocket: before']);
  await stop(node);
  const second = await start(node.port);
  await post('memory', { from: 'me', text: 'first' }, second.origin);
  for (const page of pages) {
    await shows(page, ['websocket: before', 'gap', 'me: first']);
    assert.match(await page.textContent('.gap'), /begun anew/);
    await page.close();
  }
  await stop(second);
});

test('what Redis has lost is struck out', async () => {
  let { child, socket } = await startRedis('chat-lost');
  const node = await start(0, ['--broker', `unix://${socket}`]);
  await until(async () => (await fetch(`${node.origin}/readyz`)).ok, 'Redis');
  const page = await join('lost', { name: 'me', origin: node.origin });
  await say(page, 'gone soon');
  await shows(page, ['me: gone soon']);
  await kill(child);
  ({ child } = await startRedis('chat-lost'));
  await page.waitForSelector('.gap');
  await say(page, 'still here');
  await until(async () => (await texts(page)).includes('still here'), 'the new message');
  await page.close();
  await stop(node);
  await kill(child);
});

test('changing the transport in the middle of a conversation misses nothing and doubles nothing', async () => {
  const page = await join('change', { name: 'me' });
  const expected = [];
  const talk = (async () => {
    for (let i = 0; i < 300; i++) {
      assert.equal((await post('change', { from: 'other', text: `${i}`, key: `${i}` })).status, 201);
      expected.push(`other: ${i}`);
    }
  })();
  for (let i = 0; expected.length < 300; i = (i + 1) % 3) {
    await page.check(`input[value="${TRANSPORTS[i]}"]`);
    await page.waitForSelector('#state[data-state="live"]');
  }
  await talk;
  await shows(page, expected);
  await page.close();
});

test('cut connections miss nothing, whatever is said meanwhile', async () => {
  for (const transport of TRANSPORTS) {
    const proxy = await startProxy(server.port);
    const page = await join(`cut-${transport}`, { name: 'me', transport, origin: proxy.origin });
    const expected = [];
    for (let i = 0; i < 6; i++) {
      await post(`cut-${transport}`, { from: 'other', text: `${i}` });
      if (i % 2) proxy.cut();
      await say(page, `answer ${i}`);
      expected.push(`other: ${i}`, `me: answer ${i}`);
      await until(async () => (await rows(page)).length === expected.length, `round ${i} over ${transport}`);
    }
    assert.deepEqual((await rows(page)).sort(), expected.sort());
    await page.close();
    proxy.stop();
  }
});

test('nothing that is said becomes part of the page', async () => {
  const hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
  for (const transport of TRANSPORTS) {
    const page = await join(`hostile-${transport}`, { name: 'me', transport });
    await post(`hostile-${transport}`, { from: hostile, text: hostile, at: hostile, key: { a: 1 } });
    await post(`hostile-${transport}`, { text: 7, from: ['x'] });
    for (const value of [null, 1e999, 'plain', [], { text: 'no name' }, { text: 'x', at: 1e300, from: ' ' }]) await post(`hostile-${transport}`, value);
    await fetch(`${server.origin}/channels/chat/hostile-${transport}`, { method: 'POST', body: new Uint8Array([0, 255]) });
    await until(async () => (await rows(page)).length === 9, 'all of them');
    const seen = await texts(page);
    assert.equal(seen[0], hostile);
    assert.deepEqual(seen.slice(1), ['{"text":7,"from":["x"]}', 'null', 'null', 'plain', '[]', 'no name', 'x', 'AP8=']);
    assert.equal(await page.locator('#said img, #said script').count(), 0);
    assert.match(await page.title(), /^hostile-/);
    await page.close();
  }
});

test('a room that cannot be is refused with the reason, and left by the form', async () => {
  for (const transport of TRANSPORTS) {
    const page = await join('a%20b', { transport, state: 'refused' });
    assert.match(await page.textContent('#reason'), /channel name/);
    await page.fill('#room', 'better');
    await page.click('#room-form button');
    await page.waitForSelector('#state[data-state="live"]');
    assert.equal(await page.textContent('#title'), 'better');
    await page.close();
  }
});

test('what is not taken comes back into the field', async () => {
  const node = await start(0, ['--message-size', '200']);
  for (const transport of TRANSPORTS) {
    const page = await join('small', { name: 'me', transport, origin: node.origin });
    await say(page, 'x'.repeat(300));
    await page.waitForSelector('#fault:has-text("Not sent")');
    assert.equal(await page.inputValue('#text'), 'x'.repeat(300));
    await say(page, 'short');
    await until(async () => (await texts(page)).includes('short'), 'what is short enough');
    assert.equal(await page.textContent('#fault'), '');
    await page.close();
  }
  await stop(node);
});

test('rooms are listed, joined by keyboard, and do not mix', async () => {
  const page = await join('one', { name: 'me' });
  await say(page, 'in one');
  await shows(page, ['me: in one']);
  await page.focus('#room');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('two');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.title.startsWith('two'));
  await page.waitForSelector('#state[data-state="live"]');
  assert.equal(await page.locator('#empty').isVisible(), true);
  await page.focus('#text');
  await page.keyboard.type('in two');
  await page.keyboard.press('Enter');
  await shows(page, ['me: in two']);
  await page.waitForSelector('#rooms a[aria-current]:text-is("two")', { timeout: 20000 });
  await page.click('#rooms a:text-is("one")');
  await shows(page, ['me: in one']);
  await page.close();
});

test('who reads further up stays there and is told that there is more', async () => {
  const page = await join('long', { name: 'me' });
  for (let i = 0; i < 40; i++) await post('long', { from: 'other', text: `line ${i}` });
  await until(async () => (await texts(page)).length === 40, 'all lines');
  assert.equal(await page.locator('#newest').isVisible(), false);
  await page.evaluate(() => { document.getElementById('scroll').scrollTop = 0; });
  await post('long', { from: 'other', text: 'below' });
  await page.click('#newest');
  assert.equal(await page.locator('#said li:last-child').isVisible(), true);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'text');
  await page.setViewportSize({ width: 1100, height: 500 });
  await until(() => page.evaluate(() => {
    const { scrollTop, scrollHeight, clientHeight } = document.getElementById('scroll');
    return scrollHeight - scrollTop - clientHeight < 2;
  }), 'the newest message in a smaller window');
  await page.close();
});

test('every control has a name, and messages are announced', async () => {
  const page = await join('named', { name: 'me' });
  for (const [role, name] of [['textbox', 'Message'], ['textbox', 'Your name'], ['textbox', 'Room'], ['radio', 'WebSocket'],
    ['radio', 'Server-Sent Events'], ['radio', 'Long-poll'], ['group', 'Transport'], ['button', 'Send'], ['log', 'Messages'], ['status', '']]) {
    assert.equal(await page.getByRole(role, { ...(name && { name, exact: true }) }).count() > 0, true, `${role} ${name}`);
  }
  await page.waitForSelector('#said[aria-live="polite"]', { state: 'attached' });
  await page.close();
});

for (const [look, options] of Object.entries({
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { colorScheme: 'light', viewport: { width: 360, height: 640 } },
  'phone-dark': { colorScheme: 'dark', viewport: { width: 360, height: 640 } },
})) {
  test(`the chat fits and can be looked at: ${look}`, async () => {
    const room = `look-${look}`;
    const page = await join(room, { name: 'Ada', ...options });
    await screenshot(page, `chat-${look}-empty`);
    await post(room, { from: 'Grace', text: 'Is anybody here?', at: 1795284000000 });
    await say(page, 'Yes. The stream has been open since this morning, and nothing was lost when the server was restarted.');
    await post(room, { from: 'Konrad Zuse with a long name here', text: 'a'.repeat(120) });
    await until(async () => (await rows(page)).length === 3, 'what is purged then');
    await fetch(`${server.origin}/api/channels/chat/${room}`, { method: 'DELETE' });
    await post(room, { from: 'Grace', text: 'Good.\nTwo lines.' });
    await say(page, 'ok');
    await until(async () => (await rows(page)).length === 6, 'all rows');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, 'scrolls sideways');
    assert.equal(await page.evaluate(() => document.documentElement.scrollHeight <= innerHeight), true, 'scrolls as a whole');
    assert.equal(await page.locator('#text').isVisible(), true);
    await screenshot(page, `chat-${look}`);
    if (look.startsWith('phone')) {
      await page.click('summary');
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, 'scrolls sideways');
      await screenshot(page, `chat-${look}-settings`);
    }
    await page.close();
  });
}

test('the chat is linked from the start page', async () => {
  const page = await browser.newPage();
  await page.goto(server.origin);
  await page.click('a:text-is("Examples")');
  await page.click('a:text-is("Chat")');
  await page.waitForSelector('#state[data-state="live"]');
  assert.equal(await page.textContent('#title'), 'lobby');
  await page.close();
});

test('nothing went wrong in any page', () => {
  assert.deepEqual(faults, []);
});
