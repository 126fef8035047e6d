// SPDX-License-Identifier: MIT
// The examples for an existing site: a form that is saved in one browser shows in the other.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endExample, runExample } from './examples.mjs';
import { launch, screenshot, until, watchFaults } from './support.mjs';

const faults = [];
let browser;

before(async () => { browser = await launch(); });
after(async () => {
  await browser?.close();
  assert.deepEqual(faults, []);
});

const entries = (page) => page.locator('#entries li').allTextContents();

for (const name of ['django', 'flask', 'express']) {
  test(`${name}: an entry that is saved is in every open page, once`, async () => {
    const example = await runExample(name, { MODULES: `${dirname(fileURLToPath(import.meta.url))}/node_modules` });
    const site = `http://127.0.0.1:${example.port + 1}/`;
    await until(() => fetch(site).then(({ ok }) => ok, () => false), `${name}'s start`);
    const [ada, bob] = [await browser.newPage(), await browser.newPage()];
    for (const page of [ada, bob]) {
      watchFaults(page, faults);
      await page.goto(site);
      await page.waitForFunction(() => source.readyState === EventSource.OPEN); // eslint-disable-line no-undef
    }
    const hostile = '<img src=x onerror="document.title=1">&amp;';
    const expected = [];
    for (const [page, text] of [[ada, 'first'], [bob, hostile], [ada, 'über 🐇'], [bob, 'last']]) {
      await page.fill('input[name="text"]', text);
      await page.click('button');
      expected.push(text);
      for (const one of [ada, bob]) {
        await until(async () => (await entries(one)).length >= expected.length, `${text} in ${name}`);
        assert.deepEqual(await entries(one), expected);
      }
      await page.waitForFunction(() => source.readyState === EventSource.OPEN); // eslint-disable-line no-undef
    }
    assert.equal(await ada.locator('#entries img').count(), 0);
    assert.equal(await bob.title(), 'Guest book');
    await screenshot(ada, `site-${name}`);
    await endExample(example);
    await ada.waitForSelector('#state:has-text("Not connected")');
    for (const page of [ada, bob]) await page.close();
  });
}
