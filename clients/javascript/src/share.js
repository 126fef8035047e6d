// SPDX-License-Identifier: MIT
/* All tabs of a site over one connection. It is held by the hub: a SharedWorker that runs this very file, or, where there is none, the tab that has the
 * Web Lock. Both speak over a BroadcastChannel:
 *
 * {tab, wishes, hint}: a tab is there, and wants these subscriptions; said again every few seconds, and answered with the state
 * {tab}: it goes
 * {tab, wake}: the network or the page is back
 * {tab, answer}: [token], what it was asked for
 * {hub, event}: what the engine tells; of two hubs the later one, which is the greater number, is in force
 * {hub, ask: tab, why}: the tab is asked for a token
 *
 * A tab that hears nothing of the hub takes its place; one that the hub does not hear is forgotten.
 */
import { openEngine } from './engine.js';
import { makeFault } from './fault.js';
import { keepToken } from './http.js';

/** Those who speak otherwise do not hear each other. */
const VERSION = 'sluice 3';
const TICK_MS = 5000;
const UNANSWERED_MAX = 2;
/** Browsers let the timers of hidden tabs run once a minute. */
const GONE_MS = 150000;
const TOKEN_MS = 5000;

const { locks } = globalThis.navigator ?? {};

export const script = {}; // url: where this file is, for the worker

/** Holds the connection for the tabs until what is returned is called. */
function openHub(name) {
  const wire = new BroadcastChannel(name);
  const hub = Date.now() + Math.random();
  const tabs = new Map(); // by its id: {wishes, heard}
  let engine;
  let state;
  let resolve;

  const post = (said) => wire.postMessage({ hub, ...said });

  const token = keepToken(async (why) => {
    for (const ask of [...tabs.keys()].reverse()) {
      post({ ask, why });
      const answer = await new Promise((call) => { resolve = call; setTimeout(call, TOKEN_MS); });
      if (answer) return answer[0];
    }
    throw makeFault();
  });

  wire.onmessage = ({ data: { tab, wishes, hint, wake, answer } }) => {
    if (!tab) return;
    if (answer) return resolve(answer);
    if (wake) return engine?.wake(...wake);
    const heard = Date.now();
    tabs.delete(tab);
    if (wishes) tabs.set(tab, { wishes, heard });
    for (const [id, one] of tabs) if (heard - one.heard > GONE_MS) tabs.delete(id);
    engine ??= openEngine({ ...JSON.parse(name), hint, token }, (event) => {
      if (event.state) state = event;
      post({ event });
    });
    engine.want([...tabs.values()].flatMap((one) => one.wishes));
    post({ event: state });
  };
  post();
  return () => {
    engine?.close();
    wire.close();
  };
}

/** Holds the connection as soon as nobody else does; what is returned ends that. */
function contend(name, steal = false) {
  let isOver;
  let close;
  const hold = () => isOver || new Promise((release) => {
    const end = openHub(name);
    close = () => { end(); release(); };
  });
  if (locks) locks.request(name, { steal }, hold).catch(() => close?.()); // it has been taken from us
  else hold();
  return () => {
    isOver = true;
    close?.();
  };
}

/* A bundle is another program, which a worker must not run. */
const canWork = () => globalThis.SharedWorker && /sluice(.classic)?.js$/.test(script.url);

export const canShare = () => globalThis.document && (locks || canWork());

/** The engine's face for a tab. `hear` gets what it tells. */
export function openShared({ token, hint, ...options }, hear) {
  const name = JSON.stringify({ VERSION, ...options }); // without the functions
  const wire = new BroadcastChannel(name);
  const tab = Math.random();
  let wishes = [];
  let known = 0;
  let unanswered = 0;
  let leave;
  let state;

  const say = (said) => wire.postMessage({ tab, ...said });
  const join = () => say({ wishes, hint });
  const lead = (steal) => { leave?.(); leave = contend(name, steal === true); };

  wire.onmessage = async ({ data: { hub, ask, why, event } }) => {
    if (!(hub >= known)) return;
    unanswered = 0;
    if (ask === tab) return say({ answer: [await token(why).catch(() => {})] });
    if (hub > known) {
      known = hub;
      join();
    }
    if (!event || (event.state && state === (state = JSON.stringify(event)))) return; // a state is told again with each answer
    hear(event);
  };
  const timer = setInterval(() => {
    if (unanswered++ > UNANSWERED_MAX) lead(true);
    join();
  }, TICK_MS);

  try {
    if (!canWork()) throw 0;
    new SharedWorker(script.url, { name, ...script }).onerror = lead;
  } catch {
    lead(); // there are none, or the file is of another origin
  }
  return {
    want(wanted) { wishes = wanted; join(); },
    wake: (...wake) => say({ wake }),
    close() {
      clearInterval(timer);
      say({});
      leave?.();
      wire.close();
    },
  };
}

if (globalThis.SharedWorkerGlobalScope && self.name.includes(VERSION)) contend(self.name);
