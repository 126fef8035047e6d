// SPDX-License-Identifier: MIT
// What the browser tests share: a server, a proxy that can be in the way, chromium.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { chromium } from 'playwright-core';

const { SCREENSHOTS, SLUICE, SOURCE_DIR } = process.env;
const folder = mkdtempSync(join(tmpdir(), 'sluice-browser-'));
/* So long a process with a connection or a timer left waits before it ends all the same. */
const LEFT_MS = 5000;
let starts = 0;

process.on('exit', () => rmSync(folder, { recursive: true }));

/* What a test that failed has left would keep this process from its end. */
const ends = [];
export const atEnd = (end) => ends.push(end);
after(() => {
  ends.forEach((end) => end());
  setTimeout(() => process.exit(), LEFT_MS).unref();
});

function run(command, options, stdio = 'ignore') {
  const child = spawn(command, options, { stdio });
  atEnd(() => child.kill('SIGKILL'));
  return child;
}

export async function until(condition, what) {
  for (const end = Date.now() + 45000; Date.now() < end;) {
    const value = await condition();
    if (value) return value;
    await new Promise((resume) => setTimeout(resume, 10));
  }
  throw new Error(`${what} did not come true`);
}

export async function start(port = 0, options = [], descriptors = 1024) {
  const ready = join(folder, `ready-${starts++}`);
  const child = run('sh', ['-c', `ulimit -n ${descriptors}; exec "$0" "$@"`, SLUICE, 'serve', '--http', `127.0.0.1:${port}`, '--ready-file', ready, '--drain-time', '0.1',
    '--retry', '0.2', '--static-dir', join(SOURCE_DIR, 'static'), ...options], ['ignore', 'ignore', 'pipe']);
  let log = '';
  child.stderr.on('data', (text) => { log += text; });
  await until(() => existsSync(ready) || child.exitCode !== null, 'the server\'s start');
  assert.equal(child.exitCode, null, log);
  const bound = Number(readFileSync(ready, 'utf8').trim().split(':').pop());
  return { child, port: bound, origin: `http://127.0.0.1:${bound}`, log: () => log };
}

export async function stop({ child, log }) {
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
  assert.equal(child.exitCode, 0, log());
}

/* A Redis on a socket; one of the same name finds what the one before it has kept. */
export async function startRedis(name, ...options) {
  const socket = place(`redis-${name}`);
  rmSync(socket, { force: true });
  const child = run('redis-server', ['--port', '0', '--unixsocket', socket, '--dir', place('.'), '--save', '',
    '--dbfilename', `${name}.rdb`, '--appenddirname', `aof-${name}`, ...options]);
  await until(() => existsSync(socket), 'Redis');
  return { child, socket };
}

export async function kill(child) {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

export async function publish(server, channel, text, event = '') {
  const response = await fetch(`${server.origin}/channels/${channel}${event && `?event=${event}`}`, {
    method: 'POST', body: text, headers: { 'Content-Type': 'text/plain' },
  });
  assert.equal(response.status, 201);
  return (await response.json()).id;
}

/* A proxy before a port, which can cut every connection, answer 503 in the server's place for a while, and keep back
 * what the server sends until the answer has ended. */
export async function startProxy(port) {
  const proxy = { port, refused: 0, isFull: false, isBuffering: false, sockets: new Set() };
  const listener = createServer((client) => {
    proxy.sockets.add(client);
    client.on('close', () => proxy.sockets.delete(client)).on('error', () => {});
    if (proxy.isFull) {
      client.once('data', () => {
        proxy.refused++;
        const body = '{"error":"full","message":"the server is full: try again later"}';
        client.end(`HTTP/1.1 503 Full\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      });
      return;
    }
    const upstream = connect(proxy.port, '127.0.0.1').on('error', () => client.destroy());
    client.on('close', () => upstream.destroy()).pipe(upstream);
    let kept = [];
    upstream.on('data', (part) => {
      kept.push(part);
      const isEndless = /^transfer-encoding: chunked/im.test(kept[0].toString('latin1'));
      if (proxy.isBuffering && isEndless) return;
      client.write(Buffer.concat(kept));
      kept = [];
    });
    upstream.on('end', () => client.end(Buffer.concat(kept)));
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  proxy.origin = `http://127.0.0.1:${listener.address().port}`;
  proxy.cut = () => { for (const socket of proxy.sockets) socket.destroy(); };
  proxy.stop = () => { listener.close(); proxy.cut(); };
  atEnd(proxy.stop);
  return proxy;
}

/** A path for a socket or a file of the test. */
export const place = (name) => join(folder, name);

/* Errors of a page's scripts, and what its policy keeps out, end up in the list. */
export function watchFaults(page, faults) {
  page.on('pageerror', (fault) => faults.push(String(fault)));
  page.on('console', (line) => { if (/Content Security Policy/.test(line.text())) faults.push(line.text()); });
}

export async function screenshot(page, name) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true, animations: 'disabled' });
}

/* An empty page of that origin, whatever the server there has. */
export async function openBlank(browser, origin) {
  const page = await browser.newPage();
  await page.route(`${origin}/blank`, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }));
  await page.goto(`${origin}/blank`);
  return page;
}

export const launch = (...more) => chromium.launch({
  ignoreDefaultArgs: ['--disable-back-forward-cache'],
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', ...more],
});
