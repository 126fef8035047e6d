// SPDX-License-Identifier: MIT
/* What can go wrong, and what helps against it. Inside the library a fault is {code, message, status, retryAfter, kind, where}, which can be sent from tab to tab. Its kind:
 * 'token': another token may help. 'busy': it passes by itself. 'blocked': another transport may help. 'final': nothing does.
 */

/** The server refuses: `status` is that of HTTP or of a close frame, `code` one of docs/ERRORS.md, `retryAfter` in ms. */
export class SluiceError extends Error {
  name = 'SluiceError';

  constructor(fault) {
    super(fault.message);
    Object.assign(this, fault);
  }
}

/** Whether nothing helps that has not been tried: a request has been repeated with another token. */
export const isFinal = ({ kind }) => /final|token/.test(kind);

/**
 * `retryAfter` is in ms, `where` the address of another server, to which one that stops sends its clients. What passes by itself says when; 405, 406 and 426 mean that
 * something on the way has changed the request.
 */
export const makeFault = (message, code = '', status = 0, retryAfter = 0, where) => ({
  code, status, retryAfter, where,
  message: message || 'connection lost',
  kind: /token|^bad-s|^wrong-[ai]/.test(code) ? 'token' : retryAfter ? 'busy' : !code || /4[02][56]|^5/.test(status) ? 'blocked' : 'final',
});

/** Of an error of the command protocol, of a batch or at the end of a stream. */
export const readFault = ({ code, error = code, message, retry_after: seconds = 0, alternatives: [where] = [] }) => makeFault(message, error, 0, seconds * 1000, where);

/** What is thrown as what it is, or as a loss. */
export const asFault = (thrown) => (thrown.kind ? thrown : makeFault(thrown.message));

export const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));
