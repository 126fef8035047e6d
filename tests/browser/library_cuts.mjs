// SPDX-License-Identifier: MIT
// The client library in node against a real server, behind a proxy that does to it what proxies do: every message once, in order.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import WebSocket from 'ws';
import { publish, start, stop, until } from './support.mjs';
import { startTrouble } from './trouble.mjs';

const ROUNDS_MS = Number(process.env.CUTS_MS ?? 6000);
const MODES = ['pass', 'cut', 'buffer', 'no-upgrade', 'delay', 'refuse'];
const PUBLISHERS = 5;
globalThis.WebSocket ??= WebSocket;
let server;
let Sluice;

before(async () => {
  ({ Sluice } = await import(join(process.env.SOURCE_DIR, 'static/sluice.js')));
  server = await start(0, ['--history-size', '100000']);
});

const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));
const pick = (list) => list[Math.floor(Math.random() * list.length)];

async function publishAll(client, channels, isOver) {
  const published = Object.fromEntries(channels.map((channel) => [channel, []]));
  await Promise.all(Array.from({ length: PUBLISHERS }, async (_, publisher) => {
    for (let count = 0; !isOver(); count++) {
      const channel = pick(channels);
      const { id } = await client.publish(channel, { publisher, count });
      published[channel].push(id);
      await pause(20 * Math.random());
    }
  }));
  return published;
}

const offset = (id) => Number(id.split('-')[1]);

for (const transports of [undefined, ['websocket'], ['sse'], ['stream'], ['poll']]) {
  test(`nothing is missed or doubled over ${transports ?? 'whatever works'}`, { timeout: 120000 }, async () => {
    const proxy = await startTrouble(server.port);
    const client = new Sluice(proxy.origin, { transports, heartbeat: 2 });
    const names = ['one', 'two', 'three/four'].map((name) => `${transports ?? 'any'}/${name}`);
    const heard = Object.fromEntries(names.map((name) => [name, []]));
    const resets = [];
    const follow = (channel) => client.subscribe(channel, { since: 'earliest', onmessage: ({ id }) => heard[channel].push(id), onreset: (reset) => resets.push(reset) });
    follow(names[0]);
    const publisher = new Sluice(proxy.origin);
    let isOver = false;
    const publishing = publishAll(publisher, names, () => isOver);
    for (const end = Date.now() + (transports ? ROUNDS_MS / 2 : ROUNDS_MS); Date.now() < end;) {
      proxy.mode = pick(transports?.includes('poll') || !transports ? MODES : ['pass', 'cut', 'delay', 'refuse']);
      if (proxy.mode !== 'delay') proxy.cut(0.5);
      await pause(300 * Math.random());
      if (!heard[names[1]].length && Math.random() < 0.5) names.slice(1).forEach((name) => { if (!proxy[name]) { proxy[name] = true; follow(name); } });
    }
    names.slice(1).filter((name) => !proxy[name]).forEach(follow);
    proxy.mode = 'pass';
    proxy.cut(1);
    isOver = true;
    const published = await publishing;
    for (const name of names) {
      await until(() => heard[name].length >= published[name].length, `${published[name].length} messages of ${name}`);
      assert.deepEqual(heard[name].map(offset), published[name].map((_, at) => at + 1));
      assert.deepEqual(new Set(heard[name]), new Set(published[name]));
    }
    assert.deepEqual(resets, []);
    client.close();
    publisher.close();
    proxy.stop();
  });
}

test('a publish that is answered by a cut happens once', async () => {
  const proxy = await startTrouble(server.port);
  const client = new Sluice(proxy.origin);
  proxy.mode = 'mute'; // what is sent arrives, and the answer does not
  const publishing = client.publish('once', 'x');
  await until(async () => (await fetch(`${server.origin}/api/channels/once`)).ok, 'the message');
  proxy.mode = 'pass';
  proxy.cut(1);
  const { duplicate, id } = await publishing;
  assert.equal(duplicate, true);
  const { newest, messages } = await (await fetch(`${server.origin}/api/channels/once`)).json();
  assert.deepEqual([newest, messages], [id, 1]);
  client.close();
  proxy.stop();
});

test('where only long-polls pass, that is what one gets', async () => {
  const proxy = await startTrouble(server.port);
  proxy.mode = 'buffer';
  const client = new Sluice(proxy.origin);
  const opened = [];
  client.addEventListener('open', ({ transport }) => opened.push(transport));
  const told = client.subscribe('slow', { since: 'earliest' });
  await client.publish('slow', 'x');
  for await (const { data } of told) {
    assert.equal(data, 'x');
    break;
  }
  assert.deepEqual(opened, ['poll']);
  client.close();
  proxy.stop();
});

test('what is refused says why, and leaves the other channels alone', async () => {
  for (const transports of [['websocket'], ['sse'], ['stream'], ['poll']]) {
    const client = new Sluice(server.origin, { transports });
    const faults = [];
    client.addEventListener('refused', ({ channel, fault }) => faults.push([channel, fault.code]));
    client.subscribe('bad name');
    const told = client.subscribe('good', { since: 'now' });
    await until(() => faults.length && told.cursor, 'a refusal');
    assert.deepEqual(faults, [['bad name', 'bad-channel']]);
    client.close();
  }
});

for (const transport of ['websocket', 'sse', 'stream', 'poll']) {
  test(`who follows over ${transport} comes back when and where a server that stops says`, { timeout: 120000 }, async () => {
    const there = await start(0, ['--retry', '1']);
    const here = await start(0, ['--retry', '1', '--alternatives', there.origin]);
    const client = new Sluice(here.origin, { transports: [transport] });
    const states = [];
    const heard = [];
    client.addEventListener('state', (event) => states.push(event));
    client.subscribe('moved', { onmessage: ({ data }) => heard.push(data) });
    const opensAt = (server) => until(() => states.at(-1)?.state === 'open' && states.at(-1).base === server.origin, server.origin);
    const hears = async (server, text) => {
      await publish(server, 'moved', text);
      await until(() => heard.at(-1) === text, text);
    };
    const follows = (server) => until(async () => (await (await fetch(`${server.origin}/api/channels/moved`)).json()).subscribers.total === 1, 'a follower');
    const delays = () => states.splice(0).filter(({ state }) => state === 'lost').map(({ delay }) => delay);
    await opensAt(here);
    await hears(here, 'one');
    await follows(here); // not between two polls, when it is told nothing
    await stop(here);
    await opensAt(there);
    assert.ok(delays()[0] >= 1000);
    await hears(there, 'two');
    await client.publish('moved', 'three');
    await until(() => heard.at(-1) === 'three', 'three');
    await follows(there);
    await stop(there); // which names no other
    const again = await start(here.port);
    await opensAt(here);
    assert.ok(delays()[0] >= (transport === 'poll' ? 1000 : 1100)); // that of a poll is in whole seconds
    await hears(again, 'four');
    assert.deepEqual(heard, ['one', 'two', 'three', 'four']);
    client.close();
    await stop(again);
  });
}

test('the server ends in order after all that', () => stop(server));
