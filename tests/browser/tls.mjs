// SPDX-License-Identifier: MIT
// TLS in Debian's chromium: a page of ours over https, with an EventSource, a WebSocket, a publish and a file.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, start, stop, until } from './support.mjs';

const folder = mkdtempSync(join(tmpdir(), 'sluice-browser-tls-'));
const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
let browser;
let server;

before(async () => {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', cert,
    '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'], { stdio: 'ignore' });
  browser = await launch();
  server = await start(0, ['--http', `127.0.0.1:0 tls-cert=${cert} tls-key=${key}`]); // its port is that of the last listener
});
after(async () => {
  await browser?.close();
  if (server) await stop(server);
  rmSync(folder, { recursive: true });
});

test('a page over https gets events, speaks on a WebSocket, publishes and reads files', async () => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(`https://localhost:${server.port}/healthz`);
  await page.evaluate(() => {
    window.heard = { events: [], frames: [] };
    window.source = new EventSource('/channels/tls');
    window.source.onmessage = ({ data }) => window.heard.events.push(data);
    window.socket = new WebSocket(`wss://${location.host}/channels/tls`);
    window.socket.onmessage = ({ data }) => window.heard.frames.push(data);
  });
  await until(() => page.evaluate(() => window.source.readyState === 1 && window.socket.readyState === 1), 'both streams');
  const text = 'x'.repeat(100000);
  const status = await page.evaluate(async (body) => (await fetch('/channels/tls', {
    method: 'POST', body, headers: { 'Content-Type': 'text/plain' },
  })).status, text);
  assert.equal(status, 201);
  const heard = await until(async () => {
    const now = await page.evaluate(() => window.heard);
    return now.events.length > 0 && now.frames.length > 0 && now;
  }, 'the message on both');
  assert.deepEqual(heard.events, [text]);
  assert.ok(heard.frames[0].includes(text));
  assert.ok((await page.evaluate(async () => (await fetch('/sluice.js')).text())).includes('Sluice'));
  await context.close();
});
