// SPDX-License-Identifier: MIT
// The chat example as contrib/examples/run starts it: who is in a room, who types, rooms below rooms, what is unread elsewhere.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { endExample, runExample } from './examples.mjs';
import { launch, screenshot, until, watchFaults } from './support.mjs';

const TRANSPORTS = ['websocket', 'sse', 'poll'];
const faults = [];
let example;
let browser;

before(async () => {
  example = await runExample('chat');
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await endExample(example);
  assert.deepEqual(faults, []);
});

async function join(room, name, transport = 'websocket') {
  const page = await browser.newPage({ viewport: { width: 1100, height: 800 } });
  watchFaults(page, faults);
  await page.addInitScript(([as, over]) => {
    localStorage.setItem('chat-name', as);
    localStorage.setItem('chat-transport', over);
  }, [name, transport]);
  await page.goto(`${example.origin}/examples/chat/#${encodeURIComponent(room)}`);
  await page.waitForSelector('#state[data-state="live"]');
  await page.waitForSelector('#people .own'); // what is said elsewhere is heard from now on
  return page;
}

async function say(page, text) {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
}

const people = (page) => page.locator('#people li').allTextContents();
const texts = (page) => page.locator('#said .text').allTextContents();
async function becomes(ask, expected, what) {
  await until(async () => JSON.stringify(await ask()) === JSON.stringify(expected), what).catch(async () => assert.deepEqual(await ask(), expected));
}

for (const transport of TRANSPORTS) {
  test(`who is in a room is seen by all in it (${transport})`, async () => {
    const room = `people-${transport}`;
    const ada = await join(room, 'ada', transport);
    await becomes(() => people(ada), ['ada'], 'ada alone');
    const bob = await join(room, 'bob', transport);
    const tab = await join(room, 'bob', 'websocket');
    for (const page of [ada, bob, tab]) await becomes(() => people(page), ['ada', 'bob'], 'both');
    assert.equal(await ada.textContent('#here-count'), '2');
    await tab.close();
    await bob.reload();
    await bob.waitForSelector('#state[data-state="live"]');
    await becomes(() => people(bob), ['ada', 'bob'], 'both after a reload');
    assert.deepEqual(await people(ada), ['ada', 'bob']);
    await screenshot(ada, `chat-people-${transport}`);
    await bob.close();
    // A poll whose client has gone is held until its hold time is over: longer than this waits.
    if (transport !== 'poll') await becomes(() => people(ada), ['ada'], 'ada alone again');
    await ada.close();
  });

  test(`who types is seen, by others, until he has said it (${transport})`, async () => {
    const [ada, bob] = [await join(`typing-${transport}`, 'ada', transport), await join(`typing-${transport}`, 'bob', transport)];
    await until(async () => (await people(ada)).length === 2, 'both');
    // A long-poll may be between two requests: he types on.
    await until(async () => {
      await bob.press('#text', 'a');
      return (await ada.textContent('#typing')) === 'bob is typing';
    }, 'the sign');
    assert.equal(await bob.textContent('#typing'), '');
    await bob.press('#text', 'Enter');
    await becomes(async () => (await texts(ada)).length, 1, 'what was said');
    await becomes(() => ada.textContent('#typing'), '', 'the end of the sign');
    const late = await join(`typing-${transport}`, 'late', transport);
    await becomes(async () => (await texts(late)).length, 1, 'no sign is kept');
    for (const page of [ada, bob, late]) await page.close();
  });

  test(`a room shows what is said below it, and other rooms say what is unread (${transport})`, async () => {
    const sport = `sport-${transport}`;
    const [above, below, other] = [await join(sport, 'ada', transport), await join(`${sport}/tennis`, 'bob', transport), await join(`music-${transport}`, 'cleo', transport)];
    await until(async () => (await other.locator(`#rooms li[data-room="${sport}/tennis"]`).count()) === 1, 'the rooms');
    await say(below, 'fifteen love');
    await say(above, 'good');
    await becomes(() => texts(above), ['fifteen love', 'good'], 'both in the room above');
    await becomes(() => texts(below), ['fifteen love'], 'one in the room below');
    assert.deepEqual(await above.locator('#said .meta a').allTextContents(), ['tennis']);
    const unreadOf = (page, room) => page.textContent(`#rooms li[data-room="${room}"] .unread`);
    await becomes(() => unreadOf(other, sport), '1', 'unread above');
    await becomes(() => unreadOf(other, `${sport}/tennis`), '1', 'unread below');
    await becomes(() => unreadOf(below, sport), '1', 'unread for who is below');
    assert.equal(await unreadOf(above, `${sport}/tennis`), '');
    await screenshot(other, `chat-unread-${transport}`);
    await other.click(`#rooms a[title="${sport}"]`);
    await becomes(() => texts(other), ['fifteen love', 'good'], 'what was unread');
    await becomes(() => unreadOf(other, sport), '', 'read');
    await becomes(() => unreadOf(other, `${sport}/tennis`), '', 'read, too');
    for (const page of [above, below, other]) await page.close();
  });
}
