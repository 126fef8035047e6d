// SPDX-License-Identifier: MIT
// Requests: addresses, the token, and what the server says when it refuses.
import { SluiceError, lost } from './fault.js';

/** The address of channels below `base`. Throws where the browser would make another path of a name. */
export function channelUrl(base, [first, ...others], parameters = {}) {
  const segments = first.split('/');
  if (segments.includes('.') || segments.includes('..')) throw new RangeError('the name of a channel has no segment that is . or ..');
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined && value !== ''));
  for (const name of others) query.append('channel', name);
  return `${base}/channels/${segments.map(encodeURIComponent).join('/')}?${query}`;
}

function delayOf(response) {
  const said = response.headers.get('Retry-After') ?? 0;
  return Math.max(0, 1000 * said || Date.parse(said) - Date.now() || 0);
}

/** The answer; throws a SluiceError when it is none of 2xx, and one without a code when there is none. */
export async function request(url, { token, credentials, accept, ...init }) {
  const headers = { ...(accept && { Accept: accept }), ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(url, { cache: 'no-store', credentials, headers, ...init }).catch((fault) => {
    throw lost(init.signal?.aborted ? fault.message : 'the server does not answer');
  });
  if (response.ok) return response;
  const { error = '', message } = await response.json().catch(() => ({}));
  throw new SluiceError(error, message ?? `the answer was ${response.status} ${response.statusText}`, response.status, delayOf(response));
}

/** What a body says; one that was cut is a loss. */
export const json = (response) => response.json().catch(({ message }) => { throw lost(message); });

/** What there is after `since`, or what comes within `wait` seconds: {messages, reset, cursor}. */
export async function look(base, channels, { since, wait = 0, as, info, policy, ...init }) {
  const url = channelUrl(base, channels, { transport: 'json', since, wait, as, info, policy });
  const response = await request(url, { accept: 'application/json', ...init });
  if (response.status !== 204) return json(response);
  return { messages: [], cursor: /"(.*)"/.exec(response.headers.get('ETag'))?.[1] ?? since };
}
