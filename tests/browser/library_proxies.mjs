// SPDX-License-Identifier: MIT
// The client library in chromium behind real proxies while the network gets worse and worse: WebSockets blocked, then streams kept back, then answers cut,
// each in mid-stream with twenty publishers. The page is told every message once, in order.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { atEnd, launch, start, stop, until, watchFaults } from './support.mjs';
import { startTrouble } from './trouble.mjs';

const PUBLISHERS = 20;
const PAUSE_MS = 100;
const WORSE_MS = 2000;
const isLong = /(^| )long/.test(process.env.SLUICE_MARKS ?? '') && !/not long$/.test(process.env.SLUICE_MARKS);
const { SOURCE_DIR, TEST_PYTHON = '/usr/bin/python3' } = process.env;
// Before the server, or between: then the browser asks it.
const PROXIES = { 'nginx-untuned': 'before', haproxy: 'before', squid: 'between', ...(isLong && { nginx: 'before', tinyproxy: 'between' }) };
let server;
let browser;

before(async () => {
  server = await start(0, ['--history-size', '50000', '--history-bytes', '64MiB']);
  browser = await launch();
});
after(() => browser?.close());

const pause = (ms) => new Promise((resume) => { setTimeout(resume, ms); });

/* Of tests/proxies; ends with its input. Its port, or 0 where it is not installed. */
async function startProxy(name, port) {
  const child = spawn(TEST_PYTHON, [join(SOURCE_DIR, 'tests/proxies/stand'), name, String(port)], { stdio: ['pipe', 'pipe', 'inherit'] });
  atEnd(() => child.stdin.end());
  const [line] = await once(child.stdout, 'data');
  return { port: Number(line), end: () => { const ended = once(child, 'exit'); child.stdin.end(); return ended; } };
}

async function publishAll(channel, isOver) {
  const ids = [];
  await Promise.all(Array.from({ length: PUBLISHERS }, async () => {
    while (!isOver()) {
      const answer = await fetch(`${server.origin}/channels/${channel}`, { method: 'POST', body: 'x', headers: { 'Content-Type': 'text/plain' } });
      ids.push((await answer.json()).id);
      await pause(PAUSE_MS * (0.5 + Math.random()));
    }
  }));
  return ids;
}

const offset = (id) => Number(id.split('-')[1]);

for (const [name, place] of Object.entries(PROXIES)) {
  test(`nothing is missed or doubled behind ${name}`, { timeout: 180000 }, async (t) => {
    const trouble = await startTrouble(server.port);
    const proxy = await startProxy(name, Number(new URL(trouble.origin).port));
    if (!proxy.port) return t.skip(`${name} is not installed`);
    const address = `http://127.0.0.1:${proxy.port}`;
    const context = await browser.newContext(place === 'between' ? { proxy: { server: address } } : {});
    const page = await context.newPage();
    const faults = [];
    const channel = `worse/${name}`;
    watchFaults(page, faults);
    await page.goto(`${place === 'between' ? trouble.origin : address}/healthz`);
    await page.evaluate(async (followed) => {
      const { Sluice } = await import('/sluice.js');
      Object.assign(window, { heard: [], resets: [], used: new Set(), client: new Sluice('/', { heartbeat: 2, share: false }) });
      client.addEventListener('open', ({ transport }) => used.add(transport));
      client.subscribe(followed, { since: 'earliest', onmessage: ({ id }) => heard.push(id), onreset: (reset) => resets.push(reset) });
    }, channel);
    const count = () => page.evaluate(() => window.heard.length);
    let isOver = false;
    const publishing = publishAll(channel, () => isOver);
    for (const mode of ['pass', 'no-upgrade', 'buffer', 'cut', 'pass']) {
      trouble.mode = mode;
      trouble.cut(1);
      const before = await count();
      await until(async () => await count() > before, `a message with mode ${mode}`);
      await pause(WORSE_MS);
    }
    isOver = true;
    const ids = await publishing;
    await until(async () => await count() >= ids.length, `all ${ids.length} messages`);
    assert.deepEqual((await page.evaluate(() => window.heard)).map(offset), ids.map((_, at) => at + 1));
    assert.deepEqual(await page.evaluate(() => window.resets), []);
    const used = await page.evaluate(() => [...window.used]);
    assert.ok(used.length > 1, `over ${used} only`);
    assert.deepEqual(faults, []);
    await context.close();
    await proxy.end();
    trouble.stop();
  });
}

test('the server ends in good order', () => stop(server));
