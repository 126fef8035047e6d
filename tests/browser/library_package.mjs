// SPDX-License-Identifier: MIT
// The client library as a package: packed, installed, typed.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { start, stop } from './support.mjs';

const { SOURCE_DIR } = process.env;
const folder = mkdtempSync(join(tmpdir(), 'sluice-package-'));
const modules = resolve('node_modules');
const hasNpm = spawnSync('npm', ['--version']).status === 0;

/* npm writes into the folder that it packs. */
before(() => {
  mkdirSync(join(folder, 'tree/clients'), { recursive: true });
  cpSync(join(SOURCE_DIR, 'clients/javascript'), join(folder, 'tree/clients/javascript'), { recursive: true });
  cpSync(join(SOURCE_DIR, 'static'), join(folder, 'tree/static'), { recursive: true });
});
after(() => rmSync(folder, { recursive: true }));

test('the package runs in an empty folder', { skip: !hasNpm && 'there is no npm' }, async () => {
  const packing = join(folder, 'tree/clients/javascript');
  execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: packing });
  const [archive] = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  const home = join(folder, 'app');
  mkdirSync(join(home, 'node_modules/sluice-client'), { recursive: true });
  execFileSync('tar', ['-xzf', join(folder, archive), '--strip-components=1', '-C', join(home, 'node_modules/sluice-client')]);
  assert.deepEqual(readdirSync(join(home, 'node_modules/sluice-client')).sort(), ['README.md', 'package.json', 'sluice.classic.js', 'sluice.d.ts', 'sluice.js']);
  writeFileSync(join(home, 'app.mjs'), `
    import { Sluice } from 'sluice-client';
    const sluice = new Sluice(process.argv[2]);
    sluice.publish('packed', { hello: 'world' });
    for await (const { data } of sluice.subscribe('packed', { since: 'earliest' })) { console.log(data.hello, sluice.transport); break; }
    sluice.close();`);
  const server = await start();
  const said = execFileSync(process.execPath, [join(home, 'app.mjs'), server.origin], { cwd: home, encoding: 'utf8', timeout: 120000 });
  assert.match(said, /^world \w+\n$/);
  await stop(server);
});

function compile(name, program) {
  const home = join(folder, 'types');
  mkdirSync(join(home, 'node_modules'), { recursive: true });
  rmSync(join(home, 'node_modules/sluice-client'), { force: true });
  symlinkSync(join(SOURCE_DIR, 'clients/javascript'), join(home, 'node_modules/sluice-client'));
  writeFileSync(join(home, `${name}.mts`), program);
  const tsc = join(modules, 'typescript/bin/tsc');
  return spawnSync(process.execPath, [tsc, '--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', '--lib', 'es2022,dom,dom.iterable', join(home, `${name}.mts`)], { encoding: 'utf8' });
}

test('a program that uses everything has the types for it', () => {
  const { status, stdout } = compile('good', `
    import { Sluice, SluiceError, SluiceEventSource, type Message, type Reset, type Room } from 'sluice-client';
    const sluice = new Sluice('/', { token: async (why?: string) => why ?? 'x', transports: ['websocket', 'poll'], share: false, credentials: 'include', heartbeat: 30 });
    sluice.addEventListener('open', ({ transport }) => transport?.length);
    sluice.addEventListener('lost', ({ fault, delay }) => \`\${fault?.code} \${delay?.toFixed()}\`);
    sluice.addEventListener('refused', ({ channel, fault }) => \`\${channel} \${fault.message}\`);
    const told = sluice.subscribe<{ home: number }>('a', {
      since: 'last=1', policy: 'newest', as: 'me', info: { mood: 1 },
      onopen() {}, onmessage: ({ data, time }: Message<{ home: number }>) => { data.home + time; },
      onreset: (reset: Reset) => { reset.missed?.toFixed(); }, onrefused: (fault: SluiceError) => { fault.status.toFixed(); },
    });
    for await (const message of told) { message.data.home.toFixed(); if (told.isClosed) break; }
    const { id, duplicate } = await sluice.publish('a', new Uint8Array(1), { event: 'e', id: 'k', ttl: 1, key: 'k', store: false, producer: 'p', type: 'json' });
    const room: Room = await sluice.presence('a', { onchange: ({ members }) => { members.get('me')?.since.toFixed(); } });
    room.close();
    const source = new SluiceEventSource('/channels/a', { withCredentials: true, share: false });
    source.onmessage = ({ data }) => { data.length; };
    const native: EventSource = source;
    native.removeEventListener('goal', () => {});
    source.addEventListener('goal', ({ lastEventId }) => { lastEventId.length; });
    if (source.readyState === SluiceEventSource.CLOSED) source.close();
    told.close(); sluice.close(); String([id, duplicate, sluice.state, sluice.transport, told.cursor]);`);
  assert.equal(status, 0, stdout);
});

test('what is wrong does not compile', () => {
  const { status, stdout } = compile('bad', `import { Sluice } from 'sluice-client';
    new Sluice('/', { transports: ['pigeon'] });
    new Sluice('/').subscribe('a', { sinse: 'now' });
    new Sluice('/').subscribe<string>('a', { onmessage: ({ data }) => { data.toFixed(); } });
    new Sluice('/').addEventListener('open', ({ pigeon }) => pigeon);`);
  assert.equal(status, 2, stdout);
  assert.deepEqual([...stdout.matchAll(/bad\.mts\((\d+),/g)].map(([, line]) => line), ['2', '3', '4', '5']);
});
