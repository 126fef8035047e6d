// SPDX-License-Identifier: MIT
// What the tests of the examples share: contrib/examples/run, as a user starts it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { atEnd, until } from './support.mjs';

const { SLUICE, SOURCE_DIR } = process.env;

/** Three ports in a row that nobody has: an example takes up to three. */
async function findPort() {
  for (;;) {
    const first = 20000 + Math.floor(Math.random() * 10000);
    const listeners = [0, 1, 2].map((i) => createServer().listen(first + i, '127.0.0.1'));
    const isFree = await Promise.all(listeners.map((listener) => Promise.race([
      once(listener, 'listening').then(() => true), once(listener, 'error').then(() => false)]).catch(() => false)));
    await Promise.all(listeners.map((listener, i) => isFree[i] && new Promise((resolve) => { listener.close(resolve); })));
    if (isFree.every(Boolean)) return first;
  }
}

/** Starts an example and resolves when it has said what to do; `said` is that. */
export async function runExample(name, environment = {}) {
  const port = await findPort();
  const child = spawn(join(SOURCE_DIR, 'contrib', 'examples', 'run'), [name, SLUICE], {
    env: { ...process.env, PORT: String(port), ...environment }, stdio: ['ignore', 'pipe', 'pipe'], detached: true,
  });
  atEnd(() => { try { process.kill(-child.pid, 'SIGKILL'); } catch { /* it has ended */ } });
  let said = '';
  let log = '';
  child.stdout.on('data', (text) => { said += text; });
  child.stderr.on('data', (text) => { log += text; });
  await until(() => said.includes('Ctrl-C') || child.exitCode !== null, `the start of ${name}`);
  if (child.exitCode !== null) throw new Error(`${name} has ended: ${said}${log}`);
  return { child, port, said, origin: `http://127.0.0.1:${port}`, log: () => log };
}

export async function endExample({ child }) {
  if (child.exitCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}
