// SPDX-License-Identifier: MIT
// A guest book in Express. After an entry is saved it is published, and every open page shows it. Usage: node site.mjs PORT SLUICE
import { readFileSync } from 'node:fs';
import express from 'express';

const [port, sluice] = process.argv.slice(2);
const page = readFileSync(new URL('../page.html', import.meta.url), 'utf8');
const site = express();
const entries = [];
const escape = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** The entry is saved whether this succeeds or not: who has the page open then sees it when he loads it again. */
async function publish(entry) {
  try {
    const response = await fetch(`${sluice}/channels/guestbook`, {
      method: 'POST', body: JSON.stringify(entry), headers: { 'Content-Type': 'application/json' }, signal: AbortSignal.timeout(5000),
    });
    if (!response.ok) throw new Error((await response.json()).message);
  } catch (fault) {
    console.warn(`the entry was not published: ${fault.message}`);
  }
}

/** Taken before the entries are read, so that none falls between the two. */
async function cursor() {
  try {
    const response = await fetch(`${sluice}/channels/guestbook?wait=0`, { signal: AbortSignal.timeout(5000) });
    return response.headers.get('ETag').replaceAll('"', '');
  } catch {
    return 'now';
  }
}

site.get('/', async (request, response) => {
  const since = await cursor();
  const rows = entries.map(({ id, text }) => `<li id="entry-${id}">${escape(text)}`).join('');
  const parts = { '@FORM@': '', '@SLUICE@': sluice, '@CURSOR@': since, '@ENTRIES@': rows };
  response.type('html').send(page.replace(/@[A-Z]+@/g, (name) => parts[name]));
});

site.post('/', express.urlencoded({ extended: false }), async (request, response) => {
  const entry = { id: entries.length + 1, text: String(request.body.text).slice(0, 200) };
  entries.push(entry);
  await publish(entry);
  response.redirect(303, '/');
});

site.listen(Number(port), '127.0.0.1');
