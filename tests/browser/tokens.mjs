// SPDX-License-Identifier: MIT
// The recipes of docs/AUTH.md for pages, in Debian's chromium: an EventSource with a cookie or with its token in the address, and new tokens while it is open.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, openBlank, start, stop, until } from './support.mjs';

const SECRET = 'a secret that the application has too, of 32 bytes and more';
const PAGE = 'http://www.app.example'; // where the application's pages are: another origin of the site that push.app.example is in
const folder = mkdtempSync(join(tmpdir(), 'sluice-browser-tokens-'));
let browser;
let server;
let push;

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token for one channel, which is over (with the 30 seconds that clocks may differ by) in so many. */
function token(channel, seconds = 600) {
  const claims = { exp: Date.now() / 1000 + seconds - 30, sluice: { subscribe: [channel], publish: [channel] } };
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

const publish = (channel, text) => fetch(`${server.origin}/channels/${channel}`, { method: 'POST', body: text, headers: { Authorization: `Bearer ${token(channel)}` } });
const cookie = (value) => ({ name: 'sluice_token', value, domain: '.app.example', path: '/', httpOnly: true, sameSite: 'Lax' });

before(async () => {
  writeFileSync(join(folder, 'key'), SECRET, { mode: 0o600 });
  server = await start(0, ['--jwt-key', `HS256:${join(folder, 'key')}`, '--allowed-hosts', 'push.app.example', '--allowed-origins', PAGE]);
  push = `http://push.app.example:${server.port}`;
  browser = await launch('--host-resolver-rules=MAP *.example 127.0.0.1', '--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests');
});

after(async () => {
  await browser?.close();
  if (server) await stop(server);
  rmSync(folder, { recursive: true });
});

/** Opens an EventSource in the page; what it hears and whether it has given up can be asked for. */
const listen = (page, url, options) => page.evaluate(([address, how]) => {
  window.heard = [];
  window.source = new EventSource(address, how);
  window.source.addEventListener('subscribed', () => window.heard.push('subscribed'));
  window.source.onmessage = ({ data }) => window.heard.push(data);
}, [url, options]);
const heard = (page) => page.evaluate(() => window.heard);
const hasGivenUp = (page) => page.evaluate(() => window.source.readyState === EventSource.CLOSED);

for (const [where, from, address, options] of [
  ['a page of the server', () => push, '/channels/cookie', {}],
  ['a page of another origin of the site', () => PAGE, null, { withCredentials: true }],
]) {
  test(`an EventSource of ${where} has its token from an HttpOnly cookie`, async () => {
    const page = await openBlank(browser, from());
    const url = address ?? `${push}/channels/cookie`;
    await listen(page, url, options);
    await until(() => hasGivenUp(page), 'the refusal without a cookie');
    await page.context().addCookies([cookie(token('cookie'))]);
    await listen(page, url, options);
    await until(async () => (await heard(page)).includes('subscribed'), 'the stream');
    await publish('cookie', where);
    await until(async () => (await heard(page)).includes(where), 'the message');
    await page.context().close();
  });
}

test('a page of a site that is not listed gets nothing by the cookie', async () => {
  const page = await openBlank(browser, 'http://www.other.example');
  await page.context().addCookies([{ ...cookie(token('cookie')), sameSite: 'None', secure: true }]);
  await listen(page, `${push}/channels/cookie`, { withCredentials: true });
  await until(() => hasGivenUp(page), 'the refusal');
  assert.deepEqual(await heard(page), []);
  await page.context().close();
});

test('an EventSource has its token from the address', async () => {
  const page = await openBlank(browser, PAGE);
  await listen(page, `${push}/channels/query?token=${token('query')}`);
  await until(async () => (await heard(page)).includes('subscribed'), 'the stream');
  await page.context().close();
});

test('what expired is opened again with a new token, and misses nothing', async () => {
  const page = await openBlank(browser, push);
  const renew = (seconds) => page.context().addCookies([cookie(token('renewed', seconds))]);
  await page.exposeFunction('renew', async () => {
    await publish('renewed', 'meanwhile');
    await renew(600);
  });
  await renew(3);
  await page.evaluate(() => {
    window.heard = [];
    function open(cursor) {
      const feed = new EventSource(`/channels/renewed?since=${cursor}`);
      feed.onmessage = ({ data }) => window.heard.push(data);
      feed.addEventListener('subscribed', () => window.heard.push('subscribed'));
      feed.addEventListener('expired', async ({ lastEventId }) => {
        feed.close();
        await window.renew();
        open(lastEventId);
      });
    }
    open('now');
  });
  await until(async () => (await heard(page)).includes('subscribed'), 'the stream');
  await publish('renewed', 'before');
  await until(async () => (await heard(page)).length === 4, 'what came meanwhile');
  assert.deepEqual(await heard(page), ['subscribed', 'before', 'subscribed', 'meanwhile']);
  await page.context().close();
});

test('an open connection of commands takes a new token, and goes on without a gap', async () => {
  const page = await openBlank(browser, push);
  const first = token('commands', 3);
  await page.exposeFunction('newToken', () => token('commands', 600));
  await page.context().addCookies([cookie(first)]);
  await page.evaluate(() => {
    window.heard = [];
    const socket = new WebSocket(`ws://${location.host}/ws`);
    const send = (command) => socket.send(JSON.stringify(command));
    socket.onopen = () => send({ op: 'subscribe', channel: 'commands' });
    socket.onclose = ({ code }) => window.heard.push(code);
    socket.onmessage = async ({ data }) => {
      const answer = JSON.parse(data);
      window.heard.push(answer.data ?? answer.op);
      if (answer.op === 'subscribed') send({ op: 'auth', token: await window.newToken() });
    };
  });
  await until(async () => (await heard(page)).includes('authenticated'), 'the new token');
  await until(async () => (await fetch(`${server.origin}/channels/commands?wait=0&token=${first}`)).status === 401, 'the first token\'s end');
  await publish('commands', 'still here');
  await until(async () => (await heard(page)).includes('still here'), 'the message');
  assert.deepEqual(await heard(page), ['subscribed', 'authenticated', 'still here']);
  await page.context().close();
});
