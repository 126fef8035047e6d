// SPDX-License-Identifier: MIT
// Requests: addresses, the token, and what the server says when it refuses.
import { makeFault } from './fault.js';

/** A network that takes a request may never bring the answer. */
const ANSWER_MS = 30000;

/** The address of channels below `base`. A segment . or .., of which the browser would make another path, is left out, which no name may have either. */
export function channelUrl(base, [first, ...others], parameters) {
  const query = new URLSearchParams(JSON.parse(JSON.stringify({ ...parameters, info: JSON.stringify(parameters.info) }))); // without what is undefined
  for (const name of others) query.append('channel', name);
  return `${base}/channels/${first.split('/').map((part) => encodeURIComponent(part.replace(/^\.\.?$/, ''))).join('/')}?${query}`;
}

/** When and where to come back, as the last arguments of makeFault. */
const comeback = ({ headers }) => [1000 * headers.get('Retry-After') || 0, headers.get('Sluice-Alternatives')?.split(', ')[0]];

/**
 * The answer, with what init.token() promises, or, where that is refused, with what init.token(why) does. Throws a fault when it is none of 2xx.
 */
export async function request(url, init, why) {
  const given = await init.token(why);
  const response = await fetch(url, {
    cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS), ...init, headers: given && { Authorization: `Bearer ${given}` },
  });
  const { status } = response;
  if (response.ok) return response;
  const { error, message = `HTTP ${status}` } = await response.json().catch(() => ({}));
  const fault = makeFault(message, error, status, ...comeback(response));
  if (fault.kind !== 'token' || why) throw fault;
  return request(url, init, error);
}

export const ask = async (...asked) => (await request(...asked)).json();

/** What there is after `since`, or what comes within `wait` seconds: {told, cursor}, resets before messages, and `fault` if the server stops. */
export async function look(base, channels, parameters, init) {
  const response = await request(channelUrl(base, channels, { transport: 'json', wait: 0, ...parameters }), init);
  const { messages = [], reset = [], cursor = /"(.*)"/.exec(response.headers.get('ETag'))?.[1] ?? parameters.since } = response.status === 204 ? {} : await response.json();
  const [delay, where] = comeback(response);
  return { told: [...reset, ...messages], cursor, fault: delay && makeFault('', 'stopping', 0, delay, where) };
}

/** `ask(why)`, which promises a token or none, but the last token for as long as nobody says why that will not do. */
export function keepToken(ask) {
  let kept;
  return (why) => {
    if (why || !kept) {
      kept = ask(why);
      kept.catch(() => {}).then((token) => { if (!token) kept = undefined; });
    }
    return kept;
  };
}
