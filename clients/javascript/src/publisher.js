// SPDX-License-Identifier: MIT
// Publishes what it is given in its order, in one request what has come during the one before, each under a key of its own until it is accepted.
import { SluiceError, readFault } from './fault.js';
import { json, request } from './http.js';

const BATCH_MAX = 64;
const DELAY_MS = 300;
const DELAY_MAX_MS = 5000;
/** A key is known to the server for two minutes: who repeats it later may publish twice. */
const PATIENCE_MS = 100000;

export const makeKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join('');

function encode(data) {
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : ArrayBuffer.isView(data) && new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return bytes ? { type: 'binary', data: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')) } : { data };
}

export class Publisher {
  #options; // {base, credentials, token(why)}
  #queue = [];
  #isBusy = false;
  #token;

  constructor(options) {
    this.#options = options;
  }

  publish(channel, data, { id = makeKey(), ...more }) {
    return new Promise((resolve, reject) => {
      const body = JSON.stringify({ channel, ...encode(data), ...more, idempotency_key: id });
      this.#queue.push({ body, resolve, reject, end: Date.now() + PATIENCE_MS });
      if (!this.#isBusy) this.#run();
    });
  }

  async #run() {
    this.#isBusy = true;
    await null; // what is published in the same turn goes in the same request
    let size = BATCH_MAX;
    for (let delay = 0; this.#queue.length;) {
      const batch = this.#queue.splice(0, size);
      const results = await this.#post(batch).catch((fault) => batch.map(() => fault));
      size = results[0].code === 'too-large' ? 1 : BATCH_MAX;
      const again = batch.filter((item, at) => !this.#settle(item, results[at], batch.length));
      this.#queue.unshift(...again);
      delay = again.length ? Math.min(DELAY_MAX_MS, 2 * delay || DELAY_MS) : 0;
      const wait = Math.max(...results.map(({ retryAfter = 0 }) => retryAfter), delay * (0.5 + Math.random() / 2));
      if (again.length) await new Promise((resume) => setTimeout(resume, wait));
    }
    this.#isBusy = false;
  }

  /** Whether that is all there is to say of it. */
  #settle({ resolve, reject, end }, result, count) {
    const { kind, code } = result;
    if (!kind) resolve(result);
    else if ((kind === 'final' && (code !== 'too-large' || count === 1)) || Date.now() > end) reject(result);
    else return false;
    return true;
  }

  async #post(batch) {
    const { base, credentials, token } = this.#options;
    this.#token ??= await token();
    const results = await request(`${base}/channels`, {
      method: 'POST', body: `[${batch.map(({ body }) => body)}]`, token: this.#token, credentials,
    }).then(json).catch((fault) => { if (fault.kind === 'token') return batch.map(() => fault); throw fault; });
    const read = results.map((result) => (result.error ? readFault(result) : result));
    const denied = read.find(({ kind }) => kind === 'token');
    if (denied) await this.#renew(denied);
    return read;
  }

  async #renew(fault) {
    const former = this.#token;
    this.#token = await this.#options.token(fault.code);
    if (!this.#token || this.#token === former) throw new SluiceError('forbidden', fault.message, fault.status);
  }
}
