// SPDX-License-Identifier: MIT
// Where a reader stands: the entries EPOCH-OFFSET of a cursor, found by the first five characters, which stand for the channel.

const NAME_CHARACTERS = 5;
/** As many as the server takes: 64 channels, and 8 entries of names that end in /**. */
const ENTRIES_MAX = 72;

const offsetOf = (entry) => Number(entry.slice(13));

export const isCursor = (since) => /^[0-9a-z]{12}-/.test(since);

export class Places {
  entries = new Map();

  constructor(cursor = '') {
    this.take(cursor);
  }

  /** Goes on to what a cursor or an id says of its channels, never back in the same log unless `mayReturn`. */
  take(cursor, mayReturn) {
    for (const entry of cursor.split('.')) {
      if (!entry || (!mayReturn && this.has(entry))) continue;
      const name = entry.slice(0, NAME_CHARACTERS);
      this.entries.delete(name); // the newest stand last
      this.entries.set(name, entry);
    }
  }

  /** The same, and what the cursor says nothing of is forgotten. */
  become(cursor) {
    const former = this.entries;
    this.entries = new Map();
    this.take(cursor);
    for (const [name, entry] of former) if (this.entries.has(name)) this.take(entry.slice(0, 12) === this.entries.get(name).slice(0, 12) ? entry : '');
  }

  /** Whether there is an entry of the same channel. */
  knows(entry) {
    return this.entries.has(entry.slice(0, NAME_CHARACTERS));
  }

  /** Whether the message with that id is behind us: of the same log, and not later. */
  has(id) {
    const entry = this.entries.get(id.slice(0, NAME_CHARACTERS));
    return entry?.slice(0, 12) === id.slice(0, 12) && offsetOf(id) <= offsetOf(entry);
  }

  toString() {
    return [...this.entries.values()].slice(-ENTRIES_MAX).join('.');
  }
}
