// SPDX-License-Identifier: MIT
// Pages in chromium that follow a channel by the client library, through each route of the proxy matrix: how long from opening the page to its first
// live message, the best of three: what else runs on the machine is not the proxy's. ROUTES are objects of a title, the origin of the page and, for a proxy that the browser asks, its address; SERVER is where is published.
// Prints an object a line; run by tests/proxies/measure beside the packages of tests/browser.
import { launch } from './support.mjs';

const ROUNDS = 3;
const EVERY_MS = 20;
const { ROUTES, SERVER } = process.env;
const CHOICES = [['websocket', 'sse', 'stream', 'poll'], ['sse', 'stream', 'poll'], ['stream', 'poll'], ['poll']];

async function publishing(channel, isOver) {
  while (!isOver()) {
    await fetch(`${SERVER}/channels/${channel}`, { method: 'POST', body: 'x', headers: { 'Content-Type': 'text/plain' } });
    await new Promise((resume) => { setTimeout(resume, EVERY_MS); });
  }
}

async function open(browser, { origin, proxy }, transports, channel) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...(proxy && { proxy: { server: proxy } }) });
  const page = await context.newPage();
  let isOver = false;
  const published = publishing(channel, () => isOver);
  try {
    const begun = Date.now();
    await page.goto(`${origin}/healthz`);
    const found = await page.evaluate(async ([name, given]) => {
      const { Sluice } = await import('/sluice.js');
      const client = new Sluice('/', { transports: given, share: false });
      await new Promise((heard) => { client.subscribe(name, { onmessage: heard }); });
      return { at: Date.now(), transport: client.transport };
    }, [channel, transports]);
    return { ms: found.at - begun, transport: found.transport };
  } finally {
    isOver = true;
    await published;
    await context.close();
  }
}

const browser = await launch();
for (const [at, route] of JSON.parse(ROUTES).entries()) {
  const cells = [];
  for (const [kind, transports] of CHOICES.entries()) {
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      const opened = open(browser, route, transports, `pages/${at}/${kind}/${round}`);
      const late = new Promise((resume) => { setTimeout(resume, 30000, { ms: null }).unref(); });
      rounds.push(await Promise.race([opened, late]).catch((fault) => ({ ms: null, fault: String(fault).slice(0, 300) })));
    }
    rounds.sort((a, b) => (a.ms ?? 1e9) - (b.ms ?? 1e9));
    cells.push(rounds[0]);
  }
  console.log(JSON.stringify({ title: route.title, cells }));
}
await browser.close();
process.exit(0);
