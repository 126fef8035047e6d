// SPDX-License-Identifier: MIT
// Publishes what it is given in its order, in one request what has come during the one before, each under a key of its own until it is accepted.
import { SluiceError, asFault, isFinal, pause, readFault } from './fault.js';
import { ask } from './http.js';

const BATCH_MAX = 16;
/** In characters: what is larger goes alone. */
const LARGE = 100000;
const DELAY_MS = 250;
const DELAY_MAX_MS = 5000;
/** A key is known to the server for two minutes: who repeats it later may publish twice. */
const PATIENCE_MS = 100000;

export const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));

const encode = (data) => (ArrayBuffer.isView(data) || data instanceof ArrayBuffer
  ? { type: 'binary', data: toBase64(new Uint8Array(data.buffer ?? data, data.byteOffset, data.byteLength)) } : { data });

/** publish(channel, data, options) promises the server's answer; `place()` is where the server is now. */
export function makePublisher(access, place) {
  const queue = [];
  let last = Promise.resolve();

  const send = async (delay) => {
    const batch = queue.splice(0, queue.some(({ body }) => body.length > LARGE) ? 1 : BATCH_MAX);
    if (!batch.length) return;
    const results = (await ask(`${place()}/channels`, { ...access, method: 'POST', body: `[${batch.map(({ body }) => body)}]` })
      .catch((thrown) => batch.map(() => asFault(thrown)))).map((result) => (result.error ? readFault(result) : result));
    const again = batch.filter((item, at) => {
      const { kind } = results[at];
      if (kind && !isFinal(results[at]) && Date.now() < item.expiry) return true;
      if (kind) item.rejects(new SluiceError(results[at]));
      else item.resolves(results[at]);
    });
    if (!again.length) return;
    queue.unshift(...again);
    await pause(Math.max(delay, ...results.map(({ retryAfter }) => retryAfter || 0)) * (1 + Math.random() / 2));
    await send(Math.min(2 * delay, DELAY_MAX_MS));
  };

  return (channel, data, { id = `${Math.random()}${Math.random()}`, ...more } = {}) => new Promise((resolves, rejects) => {
    const body = JSON.stringify({ channel, ...encode(data), ...more, idempotency_key: id });
    queue.push({ body, resolves, rejects, expiry: Date.now() + PATIENCE_MS });
    last = last.then(() => send(DELAY_MS)); // behind the others, with what is published in the same turn
  });
}
