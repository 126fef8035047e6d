// SPDX-License-Identifier: MIT
// What can go wrong, and what helps against it.

/** The server refuses: `status` is that of HTTP or of a close frame, `code` one of docs/ERRORS.md, `retryAfter` in ms. */
export class SluiceError extends Error {
  constructor(code, message, status = 0, retryAfter = 0) {
    super(message);
    this.name = 'SluiceError';
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** 'token': another token may help. 'busy': it passes by itself. 'blocked': another transport may help. 'final': nothing does. */
  get kind() {
    const { code, status } = this;
    if (/token|^bad-sig|^wrong-(aud|iss)/.test(code)) return 'token';
    if (/^(internal|stopping|no-desc)|memory|broker|-(limit|rate|timeout|connections|address|sessions)$/.test(code)) return 'busy';
    return !code || status === 405 || status === 406 || status === 426 ? 'blocked' : 'final';
  }
}

/** Of an error of the command protocol, of a batch or at the end of a stream. */
export const readFault = ({ code, error, message, retry_after: seconds = 0 }) => new SluiceError(code ?? error, message, 0, seconds * 1000);

export const lost = (message = 'the connection was lost') => new SluiceError('', message);
