// SPDX-License-Identifier: MIT
/* All tabs of a site over one connection. It is held by the hub: a SharedWorker that runs this very file, or, where there is none, the tab that has the
 * Web Lock. Both speak over a BroadcastChannel:
 *
 * {tab, wishes, hint}: a tab is there, and wants these subscriptions; said again every few seconds
 * {tab}: it goes
 * {tab, wake}: the network or the page is back
 * {tab, token}: what it was asked for
 * {hub, event, isOld}: what the engine tells; with isOld where it stands, as the answer to a tab that is there
 * {hub, ask: tab, why}: the tab is asked for a token
 *
 * A tab that hears nothing of the hub takes its place; one that the hub does not hear is forgotten.
 */
import { openEngine } from './engine.js';
import { makeFault } from './fault.js';

/** Those who speak otherwise do not hear each other. */
const VERSION = 'sluice 2';
const TICK_MS = 5000;
const UNANSWERED_MAX = 2;
/** Browsers let the timers of hidden tabs run once a minute. */
const GONE_MS = 150000;
const TOKEN_MS = 5000;

export const script = {}; // url: where this file is, for the worker

/** Holds the connection for the tabs until `close` is called. */
function openHub(name) {
  const wire = new BroadcastChannel(name);
  const hub = Math.random();
  const tabs = new Map(); // by its id: {wishes, heard}
  const [, options] = JSON.parse(name);
  let engine;
  let state;
  let answer;

  const post = (event, isOld) => wire.postMessage({ hub, isOld, event });

  const token = async (why) => {
    for (const ask of [...tabs.keys()].reverse()) {
      wire.postMessage({ hub, ask, why });
      const said = await new Promise((resolve) => { answer = resolve; setTimeout(resolve, TOKEN_MS, {}); });
      if ('token' in said) return said.token;
    }
    throw makeFault('no tab gives a token');
  };

  wire.onmessage = ({ data: { tab, wishes, hint, wake, ...said } }) => {
    if (!tab) return;
    if ('token' in said) return answer?.(said);
    if (wake !== undefined) return engine?.wake(wake);
    const now = Date.now();
    tabs.delete(tab);
    if (wishes) tabs.set(tab, { wishes, heard: now });
    for (const [id, { heard }] of tabs) if (now - heard > GONE_MS) tabs.delete(id);
    engine ??= openEngine({ ...options, hint, token }, (event) => {
      if (event.op === 'state') state = event;
      post(event);
    });
    engine.want([...tabs.values()].flatMap((one) => one.wishes));
    post(state ?? {}, true);
  };
  post({}, true);
  return () => { wire.onmessage = null; engine?.close(); wire.close(); };
}

/** Holds the connection as soon as nobody else does; what is returned ends that. */
function contend(name, steal = false) {
  const ending = new AbortController();
  let close;
  if (!navigator.locks) {
    close = openHub(name);
  } else {
    navigator.locks.request(name, steal ? { steal } : { signal: ending.signal }, () => new Promise((release) => {
      if (ending.signal.aborted) return release();
      const closeHub = openHub(name);
      close = () => { closeHub(); release(); };
    })).catch(() => close?.()); // it has been taken from us
  }
  return () => { ending.abort(); close?.(); };
}

/* A bundle is another program, which a worker must not run. */
const canWork = () => !!globalThis.SharedWorker && /\/sluice(\.classic)?\.js$/.test(script.url);

export const canShare = () => !!(globalThis.document && globalThis.BroadcastChannel && (navigator.locks || canWork()));

/** The engine's face for a tab. `hear` gets what it tells, `detach` is called when another hub tells it from now on, `giveUp` when there can be none. */
export function openShared({ token, hint, ...options }, hear, detach, giveUp) {
  const name = JSON.stringify([VERSION, options]);
  const wire = new BroadcastChannel(name);
  const tab = Math.random();
  let wishes = [];
  let known;
  let unanswered = 0;
  let leave = () => {};
  let state;

  const say = (said) => wire.postMessage({ tab, ...said });
  const join = () => say({ wishes, hint });
  const lead = (steal) => { leave(); leave = contend(name, steal); };

  wire.onmessage = async ({ data: { hub, ask, why, event, isOld } }) => {
    if (!hub) return;
    unanswered = 0;
    if (ask) {
      if (ask === tab) say(await token(why).then((given) => ({ token: given }), () => ({ token: undefined })));
      return;
    }
    if (hub !== known && !isOld) return; // a hub that is not in force any more
    if (hub !== known) {
      known = hub;
      detach();
      join();
    }
    if (event.op === 'state') {
      if (isOld && state === event.state) return;
      state = event.state;
    }
    if (event.op) hear(event);
  };
  const timer = setInterval(() => {
    if (unanswered++ >= UNANSWERED_MAX && navigator.locks) lead(true);
    join();
  }, TICK_MS);

  const start = navigator.locks ? () => lead() : giveUp;
  if (canWork()) {
    try {
      new SharedWorker(script.url, { name, type: script.type }).onerror = start;
    } catch {
      start(); // the file is of another origin
    }
  } else {
    start();
  }
  return {
    want(wanted) { wishes = wanted; join(); },
    wake: (wake = false) => say({ wake }),
    close() {
      clearInterval(timer);
      say({});
      leave();
      wire.close();
      if (state !== 'closed') hear({ op: 'state', state: 'closed' });
    },
  };
}

if (globalThis.SharedWorkerGlobalScope && self.name.startsWith(`["${VERSION}"`)) contend(self.name);
