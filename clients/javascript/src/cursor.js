// SPDX-License-Identifier: MIT
// Where a reader stands: the entries EPOCH-OFFSET of a cursor, found by the first five characters, which stand for the channel.

/** As many as the server takes: 64 channels, and 8 entries of names that end in /**. */
const ENTRIES_MAX = 72;

const nameOf = (entry) => entry.slice(0, 5);
const logOf = (entry) => entry?.slice(0, 12);
const offsetOf = (entry) => Number(entry.slice(13));

export const isCursor = (since) => /^[0-9a-z]{12}-/.test(since);

/**
 * take(cursor, mayReturn) goes on to what a cursor or an id says of its channels, never back in the same log unless it may; become(cursor) does the same, and forgets
 * the channels that the cursor says nothing of; knows(entry) is whether there is one of the same channel, has(id) whether the message with that id is behind us.
 */
export function makePlaces(start = '') {
  let entries = new Map();
  const has = (id) => {
    const entry = entries.get(nameOf(id));
    return logOf(entry) === logOf(id) && offsetOf(id) <= offsetOf(entry);
  };
  const take = (cursor, mayReturn) => {
    for (const entry of cursor.split('.')) {
      if (!entry || (!mayReturn && has(entry))) continue;
      entries.delete(nameOf(entry)); // the newest stand last
      entries.set(nameOf(entry), entry);
    }
  };
  take(start);
  return {
    has, take,
    knows: (entry) => entries.has(nameOf(entry)),
    become(cursor) {
      const former = entries;
      entries = new Map();
      take(cursor);
      for (const [name, entry] of former) if (logOf(entry) === logOf(entries.get(name))) take(entry);
    },
    toString: () => [...entries.values()].slice(-ENTRIES_MAX).join('.'),
  };
}
