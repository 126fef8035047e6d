// SPDX-License-Identifier: MIT
// Requests: addresses, the token, and what the server says when it refuses.
import { makeFault } from './fault.js';

/** The address of channels below `base`. Throws where the browser would make another path of a name. */
export function channelUrl(base, [first, ...others], parameters) {
  if (/(^|\/)\.\.?(\/|$)/.test(first)) throw makeFault('the name of a channel has no segment that is . or ..', 'bad-channel');
  const query = new URLSearchParams(others.map((name) => ['channel', name]));
  for (const name in parameters) if ((parameters[name] ?? '') !== '') query.set(name, parameters[name]);
  return `${base}/channels/${first.split('/').map(encodeURIComponent).join('/')}?${query}`;
}

/** The same path of another server, which `base` has there. */
export const elsewhere = (base, where) => where.replace(/\/+$/, '') + base.replace(/^\w+:\/\/[^/]*/, '');

/** When and where to come back, as the last arguments of makeFault. */
function comeback({ headers }) {
  const delay = headers.get('Retry-After');
  return [1000 * delay || Math.max(0, Date.parse(delay) - Date.now()) || 0, headers.get('Sluice-Alternatives')?.split(', ')[0]];
}

/** A network that takes a request may never bring the answer. */
const ANSWER_MS = 30000;

/** The answer; throws a fault when it is none of 2xx, and one without a code when there is none. */
export async function request(url, { token, accept = '*/*', signal = AbortSignal.timeout(ANSWER_MS), ...init }) {
  const headers = { Accept: accept };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(url, { cache: 'no-store', headers, signal, ...init }).catch(() => { throw makeFault('the server does not answer'); });
  const { ok, status } = response;
  if (ok) return response;
  const { error, message = `the answer was ${status}` } = await response.json().catch(() => ({}));
  throw makeFault(message, error, status, ...comeback(response));
}

/** What the answer says; one that was cut is a loss. */
export const ask = async (...asked) => (await request(...asked)).json().catch(() => { throw makeFault(); });

/** What there is after `since`, or what comes within `wait` seconds: {messages, reset, cursor}, and `fault` if the server stops. */
export async function look(base, channels, { since, wait = 0, as, info, policy, ...init }) {
  const response = await request(channelUrl(base, channels, { transport: 'json', since, wait, as, info, policy }), { accept: 'application/json', ...init });
  const [delay, where] = comeback(response);
  const fault = delay && makeFault('the server stops', 'stopping', 0, delay, where);
  if (response.status === 204) return { messages: [], cursor: /"(.*)"/.exec(response.headers.get('ETag'))?.[1] ?? since, fault };
  return { ...await response.json().catch(() => { throw makeFault(); }), fault };
}
