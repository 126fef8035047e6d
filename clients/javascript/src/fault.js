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

function kindOf(code, status) {
  if (/token|^bad-sig|^wrong-(aud|iss)/.test(code)) return 'token';
  if (/^(internal|stopping|no-desc)|memory|broker|-(limit|rate|timeout|connections|address|sessions)$/.test(code)) return 'busy';
  return !code || status === 405 || status === 406 || status === 426 ? 'blocked' : 'final';
}

/** `where` is the address of another server, to which one that stops sends its clients. */
export const makeFault = (message = 'the connection was lost', code = '', status = 0, retryAfter = 0, where = undefined) => (
  { code, message, status, retryAfter, kind: kindOf(code, status), where });

/** Of an error of the command protocol, of a batch or at the end of a stream. */
export const readFault = ({ code, error = code, message, retry_after: seconds = 0, alternatives: [where] = [] }) => makeFault(message, error, 0, seconds * 1000, where);

/** What is thrown as what it is, or as a loss. */
export const asFault = (thrown) => (thrown.kind ? thrown : makeFault(thrown.message));
