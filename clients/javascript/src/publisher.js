// SPDX-License-Identifier: MIT
// Publishes what it is given in its order, in one request what has come during the one before, each under a key of its own until it is accepted.
import { SluiceError, asFault, makeFault, readFault } from './fault.js';
import { ask } from './http.js';

const BATCH_MAX = 64;
const DELAY_MS = 300;
const DELAY_MAX_MS = 5000;
/** A key is known to the server for two minutes: who repeats it later may publish twice. */
const PATIENCE_MS = 100000;

export const makeKey = () => crypto.getRandomValues(new Uint32Array(4)).join('');

export const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));

function encode(data) {
  if (data instanceof ArrayBuffer) return encode(new Uint8Array(data));
  return ArrayBuffer.isView(data) ? { type: 'binary', data: toBase64(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)) } : { data };
}

/** publish(channel, data, options) promises the server's answer; `askToken(why)` promises a token, `place()` is where the server is now. */
export function makePublisher({ credentials, token: askToken }, place) {
  const queue = [];
  let isBusy = false;
  let token;

  const post = async (batch) => {
    token ??= await askToken();
    const results = await ask(`${place()}/channels`, { method: 'POST', body: `[${batch.map(({ body }) => body)}]`, token, credentials })
      .catch((fault) => batch.map(() => fault));
    const read = results.map((result) => (result.error ? readFault(result) : result));
    const denial = read.find(({ kind }) => kind === 'token');
    if (denial) {
      const former = token;
      token = await askToken(denial.code);
      if (!token || token === former) throw makeFault(denial.message, 'refused', denial.status);
    }
    return read;
  };

  /** Whether that is all there is to say of it. */
  const settle = ({ resolve, reject, end }, result, count) => {
    const { kind, code } = result;
    if (!kind) resolve(result);
    else if ((kind === 'final' && (code !== 'too-large' || count < 2)) || Date.now() > end) reject(new SluiceError(result));
    else return false;
    return true;
  };

  const run = async () => {
    isBusy = true;
    await null; // what is published in the same turn goes in the same request
    for (let size = BATCH_MAX, delay = 0; queue.length;) {
      const batch = queue.splice(0, size);
      const results = await post(batch).catch((fault) => batch.map(() => asFault(fault)));
      const again = batch.filter((item, at) => !settle(item, results[at], batch.length));
      queue.unshift(...again);
      size = results[0].code === 'too-large' ? 1 : BATCH_MAX;
      delay = again.length && Math.min(DELAY_MAX_MS, 2 * delay || DELAY_MS);
      if (delay) await new Promise((resume) => setTimeout(resume, Math.max(...again.map((_, at) => results[at].retryAfter || 0), delay * (1 + Math.random()) / 2)));
    }
    isBusy = false;
  };

  return (channel, data, { id = makeKey(), ...more } = {}) => new Promise((resolve, reject) => {
    const body = JSON.stringify({ channel, ...encode(data), ...more, idempotency_key: id });
    queue.push({ body, resolve, reject, end: Date.now() + PATIENCE_MS });
    if (!isBusy) run();
  });
}
