// SPDX-License-Identifier: MIT
// The old streams in Debian's chromium: each as a page without fetch or EventSource would use it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, openBlank, publish, start, stop, until } from './support.mjs';

const TEXTS = ['one', '', '</script><script>parent.hacked = true</script>', '<!--<script>', '<!-- ', '\u2028\u2029', '"\\\'\r\n\t\u007f', 'é€🐇\ufeff'];
const JSONS = ['{"__proto__":{"a":1}}', '{"__proto__":1,"__proto__":"</script>"}', '{"a":[1,2.50,null]}', '"\u2028"'];
let server;
let browser;

before(async () => {
  server = await start(0, ['--legacy', 'yes', '--heartbeat', '0.2']);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await stop(server);
});

const publishJson = (channel, body) => fetch(`${server.origin}/channels/${channel}`, {
  method: 'POST', body, headers: { 'Content-Type': 'application/json' },
});
const purge = (channel) => fetch(`${server.origin}/api/channels/${channel}`, { method: 'DELETE' });

/* Publishes what is hostile, with a gap in the middle; says what a client has to have seen. */
async function publishAll(channel) {
  for (const text of TEXTS) await publish(server, channel, text);
  for (const text of JSONS) assert.equal((await publishJson(channel, text)).status, 201);
  return [...TEXTS, ...JSONS.map((text) => JSON.parse(text))];
}

/* Each begins to receive in the page, whose window.seen gets the objects as text. */
const clients = {
  xhr: (channel) => {
    const request = new XMLHttpRequest();
    let read = 0;
    window.states = new Set();
    request.onreadystatechange = request.onprogress = () => {
      window.states.add(request.readyState);
      for (let end; (end = request.responseText.indexOf('\n', read)) >= 0; read = end + 1) {
        const line = request.responseText.slice(read, end);
        if (line) window.seen.push(JSON.stringify(JSON.parse(line)));
      }
    };
    request.onloadend = () => { window.hasEnded = true; };
    request.open('GET', `/channels/${channel}?transport=xhr`);
    request.send();
  },
  htmlfile: (channel) => {
    window.page = { take: (object) => window.seen.push(JSON.stringify(object)) };
    const frame = document.createElement('iframe');
    frame.src = `/channels/${channel}?transport=htmlfile&callback=page.take`;
    frame.onload = () => { window.hasEnded = true; };
    document.body.append(frame);
  },
  jsonp: (channel) => {
    const ask = (cursor) => {
      const script = document.createElement('script');
      script.src = `/channels/${channel}?transport=jsonp&callback=take&wait=2${cursor}`;
      script.onerror = () => { window.hasEnded = true; };
      script.onload = () => script.remove();
      document.body.append(script);
    };
    window.take = (answer) => {
      if (!window.seen.length) window.seen.push(JSON.stringify({ cursor: answer.cursor, recovered: false }));
      for (const reset of answer.reset ?? []) window.seen.push(JSON.stringify({ reset }));
      for (const message of answer.messages) window.seen.push(JSON.stringify(message));
      ask(`&since=${answer.cursor}`);
    };
    ask('&since=now');
  },
};

const seenBy = async (page) => (await page.evaluate(() => window.seen)).map((text) => JSON.parse(text));

for (const [name, connect] of Object.entries(clients)) {
  test(`${name}: what is published arrives as it is, and nothing of it runs`, async () => {
    const page = await openBlank(browser, server.origin);
    await page.evaluate(() => { window.seen = []; });
    await publish(server, name, 'before');
    await page.evaluate(connect, name);
    if (name !== 'jsonp') await until(async () => (await seenBy(page)).length === 1, 'the opening');
    else await until(async () => (await (await fetch(`${server.origin}/api/channels/${name}`)).json()).subscribers.legacy === 1, 'the poll');
    const expected = await publishAll(name);
    const data = async () => (await seenBy(page)).filter((object) => 'data' in object).map((object) => object.data);
    await until(async () => (await data()).length === expected.length, 'all messages');
    assert.deepEqual(await data(), expected);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    await purge(name);
    await until(async () => (await seenBy(page)).some((object) => object.reset), 'the reset');
    await publish(server, name, 'after');
    await until(async () => (await data()).at(-1) === 'after', 'what comes after the reset');
    if (name === 'xhr') assert.deepEqual(await page.evaluate(() => [...window.states]), [1, 2, 3]);
    if (name === 'htmlfile') {
      assert.equal(await page.evaluate(() => document.querySelector('iframe').contentDocument.scripts.length), 1, 'scripts that have run stay');
    }
    await page.close();
  });
}

/* A picture of this size, in one colour. */
async function publishPicture(page, channel, width, height) {
  await page.evaluate(async ([to, w, h]) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: w, height: h });
    canvas.getContext('2d').fillRect(0, 0, w, h);
    const body = await new Promise((resume) => { canvas.toBlob(resume, 'image/jpeg'); });
    await fetch(`/channels/${to}`, { method: 'POST', body });
  }, [channel, width, height]);
}

test('multipart: an <img> shows each picture as soon as it is published', async () => {
  const page = await openBlank(browser, server.origin);
  const size = () => page.evaluate(() => {
    const { naturalWidth, naturalHeight } = document.querySelector('img');
    return `${naturalWidth}x${naturalHeight}`;
  });
  await publishPicture(page, 'camera', 11, 12);
  await page.evaluate(() => {
    window.errors = 0;
    const image = document.createElement('img');
    image.onerror = () => { window.errors++; };
    image.src = '/channels/camera?transport=multipart&last=1';
    document.body.append(image);
  });
  await until(async () => await size() === '11x12', 'the last picture');
  for (const [width, height] of [[21, 22], [31, 32], [400, 300]]) {
    await publishPicture(page, 'camera', width, height);
    await until(async () => await size() === `${width}x${height}`, `the picture ${width}x${height}`);
  }
  await new Promise((resume) => { setTimeout(resume, 700); }); // some heartbeats
  await purge('camera');
  await publishPicture(page, 'camera', 51, 52);
  await until(async () => await size() === '51x52', 'a picture after heartbeats and a reset');
  assert.equal(await page.evaluate(() => window.errors), 0);
  await page.close();
});

test('jsonp and htmlfile: errors reach the page', async () => {
  const page = await openBlank(browser, server.origin);
  const answers = await page.evaluate(() => new Promise((resume) => {
    const seen = [];
    window.take = (answer) => { if (seen.push(answer.error) === 2) resume(seen); };
    const script = document.createElement('script');
    const frame = document.createElement('iframe');
    script.src = '/channels/a%20b?transport=jsonp&callback=take';
    frame.src = '/channels/a%20b?transport=htmlfile&callback=take';
    document.body.append(script, frame);
  }));
  assert.deepEqual(answers, ['bad-channel', 'bad-channel']);
  await page.close();
});

test('htmlfile: a page of another origin is not told anything', async () => {
  const page = await openBlank(browser, server.origin.replace('127.0.0.1', 'localhost'));
  await page.evaluate((origin) => {
    window.seen = [];
    window.take = (object) => window.seen.push(object);
    const frame = document.createElement('iframe');
    frame.src = `${origin}/channels/secret?transport=htmlfile&callback=take`;
    document.body.append(frame);
  }, server.origin);
  await publish(server, 'secret', 'x');
  await new Promise((resume) => { setTimeout(resume, 500); });
  assert.deepEqual(await page.evaluate(() => window.seen), []);
  await page.close();
});

test('htmlfile and xhr: the page learns that the stream has ended', async () => {
  const other = await start(0, ['--legacy', 'yes']);
  const pages = [];
  for (const name of ['htmlfile', 'xhr']) {
    const page = await openBlank(browser, other.origin);
    await page.evaluate(() => { window.seen = []; });
    await page.evaluate(clients[name], 'end');
    await until(async () => (await seenBy(page)).length === 1, 'the opening');
    assert.equal(await page.evaluate(() => window.hasEnded), undefined);
    pages.push(page);
  }
  await stop(other);
  for (const page of pages) {
    await until(() => page.evaluate(() => window.hasEnded), 'the end');
    await page.close();
  }
});
