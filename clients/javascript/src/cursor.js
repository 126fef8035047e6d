// SPDX-License-Identifier: MIT
// Where a reader stands: the entries EPOCH-OFFSET of a cursor, found by the first five characters, which stand for the channel.

/** As many as the server takes: 64 channels, and 8 entries of names that end in /**. */
const ENTRIES_MAX = 72;
const NAME = 5;
const LOG = 12;

/**
 * take(cursor, mayReturn) goes on to what a cursor or an id says of its channels, never back in the same log unless it may, and takes no notice of anything else; find(entry) is the entry of the same
 * channel, has(id) whether the message with that id is behind us.
 */
export function makePlaces(start = '') {
  const entries = new Map();
  const find = (entry) => entries.get(entry.slice(0, NAME));
  const has = (id) => {
    const entry = find(id);
    return entry?.slice(0, LOG) === id.slice(0, LOG) && id.slice(LOG + 1) - entry.slice(LOG + 1) <= 0;
  };
  const take = (cursor, mayReturn) => {
    for (const entry of cursor.split('.')) {
      if (!/^\w{12}-/.test(entry) || (!mayReturn && has(entry))) continue;
      entries.delete(entry.slice(0, NAME)); // the newest stand last
      entries.set(entry.slice(0, NAME), entry);
    }
  };
  take(start);
  return { has, take, find, toString: () => [...entries.values()].slice(-ENTRIES_MAX).join('.') };
}
