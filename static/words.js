// SPDX-License-Identifier: MIT
// What the server and the client library say, for people.

const REASONS = {
  epoch: 'the channel was begun anew since you were last here.',
  trimmed: 'some messages are no longer kept.',
  future: 'your place was ahead of the channel.',
  purged: 'the channel’s messages were deleted.',
  failover: 'the broker lost messages.',
  'unknown-id': 'your place was not one of this server.',
  incomplete: 'channels that your place did not name begin now.',
  'too-many-channels': 'there are more channels than can be followed.',
};

/** What a reset means. */
export function explainReset({ reason, missed, withdrawn }) {
  const count = missed === undefined ? '' : ` ${missed} missed.`;
  const gone = withdrawn === undefined ? '' : ` The last ${withdrawn} that were shown here ${withdrawn === 1 ? 'is' : 'are'} gone.`;
  return `${REASONS[reason] ?? ''}${count}${gone}`;
}

/** Why a connection was lost or refused. What no server has said, each browser says in its own way. */
export const explainFault = ({ code, status, message }) => (code || status ? message : 'the server does not answer');

/** Bytes as text. */
export const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
