// SPDX-License-Identifier: MIT
// The card table in Debian's chromium: two tables at once, players who load their page again, and players who cheat.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { endExample, runExample } from './examples.mjs';
import { launch, screenshot, until, watchFaults } from './support.mjs';

const faults = [];
const addresses = {};
let example;
let browser;

before(async () => {
  example = await runExample('cards');
  for (const [, player, address] of example.said.matchAll(/^(\w+): (http\S+)$/gm)) addresses[player] = address;
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await endExample(example);
  assert.deepEqual(faults, []);
});

async function open(player, size = { width: 900, height: 800 }) {
  const page = await browser.newPage({ viewport: size });
  watchFaults(page, faults);
  await page.goto(addresses[player]);
  await page.waitForSelector('#state[data-state="live"]');
  return page;
}

const join = (page, table) => page.click(`#tables li:has(strong:text-is("${table}")) button`);
const hand = (page) => page.locator('#hand button').allTextContents();
const top = (page) => page.textContent('#top');
const isTurnOf = (page) => page.locator('#turn.mine').isVisible();
const fits = (card, on) => card.at(-1) === on.at(-1) || card.slice(0, -1) === on.slice(0, -1);
const seen = async (page) => JSON.stringify([await top(page), await page.locator('#players li').allTextContents(), await page.textContent('#said')]);

/** A player who speaks for himself, without a page. */
async function speak(player, data) {
  const socket = new WebSocket(`${example.origin.replace('http', 'ws')}/ws`);
  const answers = [];
  socket.on('message', (text) => answers.push(JSON.parse(text)));
  await new Promise((resolve) => { socket.on('open', resolve); });
  const send = (command) => socket.send(JSON.stringify(command));
  send({ op: 'auth', token: addresses[player].split('#')[1] });
  send({ op: 'subscribe', channel: `cards/player/${player}` });
  await until(() => answers.some(({ op }) => op === 'subscribed'), 'the subscription');
  const channel = data.channel ?? `cards/from/${player}`;
  send({ op: 'publish', ref: 'p', channel, data: { ...data, ref: 'cheat' } });
  const answer = await until(() => answers.find((told) => (told.ref === 'p' && told.op === 'error')
    || told.data?.ref === 'cheat'), 'an answer');
  socket.close();
  return answer;
}

/** Plays until somebody has won; whoever's turn it is puts the first card that fits, or takes one. */
async function play(pages) {
  for (let turn = 0; turn < 400; turn++) {
    const page = await until(async () => {
      if (!await pages[0].isHidden('#deal')) return 'over';
      for (const one of pages) if (await isTurnOf(one)) return one;
      return null;
    }, 'somebody\'s turn');
    if (page === 'over') return;
    const before = await seen(page);
    const on = await top(page);
    const card = (await hand(page)).findIndex((held) => fits(held, on));
    if (card >= 0) await page.locator('#hand button').nth(card).click();
    else await page.click('#take');
    for (const one of pages) await until(async () => (await seen(one)) !== before, 'the move at every place');
  }
  throw new Error('the game has no end');
}

test('two tables play at once, each sees its own, and both end', async () => {
  const [ada, bob, cleo, dan] = [await open('ada'), await open('bob'), await open('cleo', { width: 360, height: 740 }), await open('dan')];
  for (const page of [ada, bob]) await join(page, 'oak');
  for (const page of [cleo, dan]) await join(page, 'elm');
  await until(async () => (await ada.locator('#players li').count()) === 2 && (await cleo.locator('#players li').count()) === 2, 'both tables');
  await ada.click('#deal');
  await cleo.click('#deal');
  for (const page of [ada, bob, cleo, dan]) await until(async () => (await hand(page)).length === 5, 'the cards');
  assert.equal(await top(ada), await top(bob));
  assert.equal(await ada.textContent('#game-title'), 'oak');
  assert.equal(await cleo.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, 'scrolls sideways');
  await screenshot(ada, 'cards');
  await screenshot(cleo, 'cards-phone');
  await Promise.all([play([ada, bob]), play([cleo, dan])]);
  for (const page of [ada, bob]) assert.match(await page.textContent('#said'), /(ada|bob) has won/);
  for (const page of [cleo, dan]) assert.match(await page.textContent('#said'), /(cleo|dan) has won/);
  for (const page of [ada, bob, cleo, dan]) {
    await page.click('#leave');
    await page.waitForSelector('#room:not([hidden])');
    await page.close();
  }
});

test('a page that is loaded again has its table and its cards back', async () => {
  const [ada, bob] = [await open('ada'), await open('bob')];
  for (const page of [ada, bob]) await join(page, 'oak');
  await until(async () => (await ada.locator('#players li').count()) === 2, 'both players');
  await bob.click('#deal');
  await until(async () => (await hand(ada)).length === 5, 'the cards');
  const cards = await hand(ada);
  const state = await seen(ada);
  await ada.reload();
  await until(async () => (await hand(ada)).length === 5, 'the cards again');
  assert.deepEqual(await hand(ada), cards);
  assert.equal(await seen(ada), state);
  await play([ada, bob]);
  for (const page of [ada, bob]) {
    await page.click('#leave');
    await page.waitForSelector('#room:not([hidden])');
    await page.close();
  }
});

test('who cheats is refused with the reason, and nothing changes', async () => {
  const [ada, bob] = [await open('ada'), await open('bob')];
  for (const page of [ada, bob]) await join(page, 'elm');
  await until(async () => (await ada.locator('#players li').count()) === 2, 'both players');
  await ada.click('#deal');
  await until(async () => await isTurnOf(bob) && (await hand(bob)).length === 5, 'bob\'s turn');
  const state = await seen(bob);
  const [held, adas] = [await hand(bob), await hand(ada)];
  const on = await top(bob);
  const fault = async (player, said) => {
    const answer = await speak(player, said);
    return answer.data?.fault ?? answer.message;
  };
  assert.match(await fault('ada', { op: 'put', card: adas[0] }), /it is bob's turn/);
  assert.match(await fault('ada', { op: 'take' }), /it is bob's turn/);
  assert.match(await fault('bob', { op: 'put', card: adas[0] }), /you do not hold/);
  assert.match(await fault('bob', { op: 'put', card: '1♠' }), /no such card/);
  assert.match(await fault('bob', { op: 'put', card: [] }), /no such card/);
  const other = held.find((card) => !fits(card, on));
  if (other) assert.match(await fault('bob', { op: 'put', card: other }), /neither the suit nor the rank/);
  assert.match(await fault('bob', { op: 'deal' }), /begun already/);
  assert.match(await fault('bob', { op: 'join', table: 'oak' }), /sit at elm already/);
  assert.match(await fault('cleo', { op: 'join', table: 'elm' }), /game at elm has begun/);
  assert.match(await fault('cleo', { op: 'join', table: 'ash' }), /no such table/);
  assert.match(await fault('cleo', { op: 'put', card: held[0] }), /join a table first/);
  assert.match(await fault('cleo', { op: 'win' }), /say join/);
  assert.match(await fault('cleo', { op: 'deal', channel: 'cards/from/bob' }), /does not grant to publish to cards\/from\/bob/);
  assert.match(await fault('cleo', { op: 'deal', channel: 'cards/table/elm' }), /does not grant/);
  assert.equal(await seen(bob), state);
  assert.deepEqual(await hand(bob), held);
  const spied = await fetch(`${example.origin}/channels/cards/player/bob?last=1&wait=0&token=${addresses.cleo.split('#')[1]}`);
  assert.equal(spied.status, 403);
  for (const page of [ada, bob]) {
    await page.click('#leave');
    await page.waitForSelector('#room:not([hidden])');
    await page.close();
  }
});

test('a token that is none is refused with the reason, and another one can be given', async () => {
  const page = await browser.newPage();
  watchFaults(page, faults);
  await page.goto(`${example.origin}/examples/cards/#nonsense`);
  await page.waitForSelector('#state[data-state="refused"]');
  assert.match(await page.textContent('#reason'), /The token is refused/);
  await page.fill('#token', addresses.dan.split('#')[1]);
  await page.click('#token-form button');
  await page.waitForSelector('#state[data-state="live"]');
  assert.equal(await page.textContent('#me'), 'dan');
  await page.close();
});
