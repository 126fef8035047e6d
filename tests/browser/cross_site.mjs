// SPDX-License-Identifier: MIT
// What pages of other sites get of a server on this machine, in Debian's chromium: by their own name that leads here (DNS rebinding), and across sites.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, openBlank, publish, start, stop, until } from './support.mjs';

let server;
let browser;

before(async () => {
  server = await start();
  browser = await launch('--host-resolver-rules=MAP *.example 127.0.0.1', '--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests');
});

after(async () => {
  await browser?.close();
  await stop(server);
});

/** What is in a channel, as its own server says. */
const look = async (channel) => {
  const response = await fetch(`${server.origin}/channels/${channel}?since=earliest&wait=0`, { headers: { Accept: 'application/json' } });
  return response.status === 204 ? [] : (await response.json()).messages.map((message) => message.data);
};

/* Each way in which a page may try to read; says what it got, or null. */
const reads = {
  fetch: (url) => fetch(url).then((response) => (response.ok ? response.text() : null), () => null),
  'fetch without CORS': (url) => fetch(url, { mode: 'no-cors', credentials: 'include' }).then(async (response) => (await response.text()) || null, () => null),
  XMLHttpRequest: (url) => new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.onload = () => resolve(request.status === 200 ? request.responseText : null);
    request.onerror = () => resolve(null);
    request.open('GET', url);
    request.send();
  }),
  EventSource: (url) => new Promise((resolve) => {
    const source = new EventSource(`${url}&transport=sse`);
    source.onmessage = (event) => { source.close(); resolve(event.data); };
    source.onerror = () => { source.close(); resolve(null); };
  }),
  WebSocket: (url) => new Promise((resolve) => {
    const socket = new WebSocket(url.replace('http:', 'ws:'));
    socket.onmessage = (event) => { socket.close(); resolve(event.data); };
    socket.onerror = () => resolve(null);
  }),
  script: (url) => new Promise((resolve) => {
    const element = document.createElement('script');
    element.onload = () => resolve(window.stolen ?? 'loaded');
    element.onerror = () => resolve(null);
    element.src = url;
    document.head.append(element);
  }),
  image: (url) => new Promise((resolve) => {
    const element = new Image();
    element.onload = () => resolve('loaded');
    element.onerror = () => resolve(null);
    element.src = url;
  }),
  'frame, by its script': (url) => new Promise((resolve) => {
    const frame = document.createElement('iframe');
    frame.onload = () => {
      let text = null;
      try { text = frame.contentDocument?.body?.textContent ?? null; } catch { /* the browser forbids it */ }
      resolve(text && !text.includes('wrong-host') ? text : null);
    };
    frame.src = url;
    document.body.append(frame);
  }),
};

/* Each way in which a page may try to publish; nobody waits for an answer that he may not read. */
const submit = (url) => new Promise((resolve) => {
  const frame = document.createElement('iframe');
  frame.name = `frame${Math.random()}`;
  document.body.append(frame);
  const form = document.createElement('form');
  Object.assign(form, { method: 'post', action: url, target: frame.name });
  form.enctype = window.enctype;
  const field = document.createElement('input');
  Object.assign(field, { name: 'a', value: 'forged' });
  form.append(field);
  document.body.append(form);
  frame.onload = () => resolve();
  form.submit();
});
const writes = {
  'fetch of text': (url) => fetch(url, { method: 'POST', body: 'forged', mode: 'no-cors', credentials: 'include' }).then(() => {}, () => {}),
  'fetch of JSON': (url) => fetch(url, { method: 'POST', body: '"forged"', headers: { 'Content-Type': 'application/json' } }).then(() => {}, () => {}),
  'fetch of bytes': (url) => fetch(url, { method: 'POST', body: new Blob([new Uint8Array(3)]), mode: 'no-cors' }).then(() => {}, () => {}),
  PUT: (url) => fetch(url, { method: 'PUT', body: 'forged' }).then(() => {}, () => {}),
  beacon: async (url) => { navigator.sendBeacon(url, 'forged'); },
  'beacon of a page without a referrer': async (url) => { navigator.sendBeacon(url, new URLSearchParams('a=forged')); },
  'form, encoded': submit,
  'form, text': submit,
  'form, parts': submit,
  WebSocket: (url) => new Promise((resolve) => {
    const socket = new WebSocket(url.replace('http:', 'ws:'));
    socket.onopen = () => { socket.send('forged'); setTimeout(resolve, 50); };
    socket.onerror = () => resolve();
  }),
};

/* The page's own origin and what it asks; the server's own page shows that each way works. */
const sites = [
  { name: 'a page by its own name that leads here', origin: () => `http://rebound.example:${server.port}`, target: () => `http://rebound.example:${server.port}`, may: false },
  { name: 'a page of another site', origin: () => `http://evil.example:${server.port}`, target: () => server.origin, may: false },
  { name: 'a page of localhost, to 127.0.0.1', origin: () => `http://localhost:${server.port}`, target: () => server.origin, may: false },
  { name: 'a page of the server', origin: () => server.origin, target: () => server.origin, may: true },
];

for (const [index, site] of sites.entries()) {
  test(`${site.name} ${site.may ? 'reads' : 'reads nothing'}`, async () => {
    const page = await openBlank(browser, site.origin());
    for (const [number, [way, read]] of Object.entries(reads).entries()) {
      const channel = `read/${index}/${number}`;
      await publish(server, channel, 'window.stolen = "stolen"');
      const got = await page.evaluate(read, `${site.target()}/channels/${channel}?last=1`);
      /* Nobody runs or shows what says that it is text (nosniff), or reads it in a frame, where it is in a sandbox. */
      const works = site.may && !/^(image|script|frame.*)$/.test(way);
      assert.equal(got !== null && /stolen|loaded/.test(got), works, `${way}: ${got}`);
    }
    await page.close();
  });

  test(`${site.name} ${site.may ? 'publishes' : 'publishes nothing'}`, async () => {
    const page = await openBlank(browser, site.origin());
    for (const [number, [way, write]] of Object.entries(writes).entries()) {
      const channel = `write/${index}/${number}`;
      const enctype = { 'form, encoded': 'application/x-www-form-urlencoded', 'form, text': 'text/plain', 'form, parts': 'multipart/form-data' }[way];
      await page.evaluate((text) => { window.enctype = text; }, enctype);
      await page.evaluate(write, `${site.target()}/channels/${channel}`);
      /* What a form sends in parts is no message, whoever sends it. */
      if (site.may && way !== 'form, parts') await until(async () => (await look(channel)).length === 1, way);
      else assert.deepEqual(await look(channel), [], way);
    }
    /* What came later than that. */
    await page.goto('about:blank');
    if (!site.may) for (const number of Object.keys(writes).keys()) assert.deepEqual(await look(`write/${index}/${number}`), []);
    await page.close();
  });
}

test('a page by its own name is told which name is missing, and so is the operator', async () => {
  const page = await openBlank(browser, `http://rebound.example:${server.port}`);
  const said = await page.evaluate(() => fetch('/channels/a').then(async (response) => [response.status, (await response.json()).error]));
  assert.deepEqual(said, [421, 'wrong-host']);
  assert.match(server.log(), /wrong-host.*rebound\.example/);
  await page.close();
});
