// SPDX-License-Identifier: MIT
import { explainReset } from '../../sluice.js';
import { Feed } from '../feed.js';

const ROWS = 500;
const ROOMS_MS = 5000;
const RETRY_MS = 1000;
/** What was said before one came is not read out. */
const QUIET_MS = 1000;
const NAME_MAX = 40;
const PREFIX = 'chat/';
const HISTORY = 'last=50';
const find = (id) => document.getElementById(id);
const outbox = []; // {key, text, from, at}: said, and not yet known to be accepted
const sending = new Map(); // their rows by key, until the room shows them
const keys = new Set(); // of the messages that are shown: what was repeated is shown once
let feed;
let room;
let isSending = false;
let isReading = false; // further up in the list
let height = 0; // of the list

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** What this browser remembers; without a store it remembers nothing. */
const memory = {
  get(name) { try { return localStorage.getItem(`chat-${name}`); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(`chat-${name}`, value); } catch { /* no store */ } },
};

/** crypto.randomUUID is missing where a page comes over plain HTTP. */
function makeKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join('');
}

const chosen = () => find('transport').querySelector(':checked');

// The list.

function isAtEnd() {
  const { scrollTop, scrollHeight, clientHeight } = find('scroll');
  return scrollHeight - scrollTop - clientHeight < 40;
}

function showEnd() {
  isReading = false;
  find('scroll').scrollTop = find('scroll').scrollHeight;
  find('newest').hidden = true;
}

/** Whoever reads further up stays there, and is told that there is more. */
function changeList(change) {
  // A window that has just shrunk says nothing of who has scrolled.
  if (find('scroll').clientHeight === height) isReading = !isAtEnd();
  change();
  find('empty').hidden = find('said').children.length + find('outbox').children.length > 0;
  if (isReading) find('newest').hidden = false;
  else showEnd();
}

function addRow(row) {
  changeList(() => {
    const list = find('said');
    list.append(row);
    while (list.children.length > ROWS) {
      keys.delete(list.firstElementChild.dataset.key);
      list.firstElementChild.remove();
    }
  });
}

function hueOf(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 997;
  return (sum * 137) % 360; // neighbours are far apart
}

function makeRow({ from, text, at }, isOwn) {
  const row = make('li', isOwn ? 'own' : '');
  const meta = make('div', 'meta');
  const name = make('span', 'from', from);
  name.style.setProperty('--hue', hueOf(from));
  meta.append(name);
  const moment = new Date(at);
  if (at && !Number.isNaN(moment.getTime())) {
    const time = make('time', '', moment.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }));
    time.dateTime = moment.toISOString();
    time.title = moment.toLocaleString();
    meta.append(time);
  }
  row.append(meta, make('p', 'text', text));
  return row;
}

/** Anybody may publish anything to the channel: what is not of our making is shown as it is. */
function readSaid(data) {
  let value = data;
  if (typeof data === 'string') {
    try { value = JSON.parse(data); } catch { /* plain text */ }
  }
  if (typeof value?.text === 'string') {
    const { text, from, key, at } = value;
    return { text, key: String(key ?? ''), at, from: typeof from === 'string' && from.trim() ? from.slice(0, NAME_MAX) : 'somebody' };
  }
  return { text: typeof value === 'string' ? value : JSON.stringify(value), from: 'somebody', key: '' };
}

/** What was said is in the room, or never will be. */
function settle(key) {
  sending.get(key)?.remove();
  sending.delete(key);
  const index = outbox.findIndex((item) => item.key === key);
  if (index >= 0) outbox.splice(index, 1);
}

function showMessage({ data, time }) {
  const said = readSaid(data);
  settle(said.key);
  if (said.key && keys.has(said.key)) return;
  const row = makeRow({ ...said, at: time ?? said.at }, said.from === find('name').value);
  if (said.key) keys.add(said.key);
  row.dataset.key = said.key;
  addRow(row);
}

function showReset(reset) {
  const told = [...find('said').querySelectorAll('li:not(.gap, .gone)')].reverse();
  for (const row of told.slice(0, reset.withdrawn ?? 0)) {
    row.classList.add('gone');
    keys.delete(row.dataset.key);
  }
  const row = make('li', 'gap');
  row.append(make('strong', '', 'A gap:'), ` ${explainReset(reset)}`);
  addRow(row);
}

function showState(state, reason) {
  find('state').dataset.state = state;
  find('state').textContent = state === 'live' ? `live over ${chosen().parentElement.textContent.trim()}` : state;
  find('reason').textContent = !reason ? '' : state === 'refused' ? `This room cannot be joined: ${reason}.` : `${reason}. Trying again.`;
  find('reason').hidden = !reason;
  if (state !== 'live') return;
  setTimeout(() => find('said').setAttribute('aria-live', 'polite'), QUIET_MS);
  send();
}

// Saying something.

function refuse({ text, key }, fault) {
  changeList(() => settle(key));
  find('fault').textContent = `Not sent: ${fault.message}`;
  if (!find('text').value) find('text').value = text;
}

/** One after another, so that they stand in the order in which they were said; each until it is accepted. */
async function send() {
  if (isSending) return;
  isSending = true;
  while (outbox.length > 0) {
    const [item] = outbox;
    try {
      await feed.publish(item, item.key);
      if (outbox[0] === item) outbox.shift(); // its row goes when the room shows it
    } catch (fault) {
      if (fault.isFinal && outbox[0] === item) refuse(item, fault);
      else await new Promise((resume) => { setTimeout(resume, RETRY_MS); });
    }
  }
  isSending = false;
}

function say(text) {
  const item = { from: find('name').value, text, key: makeKey(), at: Date.now() };
  const row = makeRow(item, true);
  row.append(make('span', 'sending', 'sending'));
  outbox.push(item);
  sending.set(item.key, row);
  changeList(() => find('outbox').append(row));
  showEnd();
  send();
}

// Rooms.

function currentRoom() {
  const name = location.hash.slice(1) || 'lobby';
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function enter() {
  feed?.stop();
  room = currentRoom();
  for (const list of ['said', 'outbox']) find(list).replaceChildren();
  outbox.length = 0;
  sending.clear();
  keys.clear();
  find('said').setAttribute('aria-live', 'off');
  find('empty').hidden = false;
  showEnd();
  find('fault').textContent = '';
  find('room').value = room;
  find('title').textContent = room;
  document.title = `${room} · Chat`;
  const here = new Feed(PREFIX + room, HISTORY, {
    onMessage: showMessage,
    onReset: showReset,
    onState: (state, reason) => { if (here === feed) showState(state, reason); },
  });
  feed = here;
  feed.use(chosen().value);
  showRooms();
}

function makeRoom({ channel, subscribers }) {
  const name = channel.slice(PREFIX.length);
  const link = make('a', '', name);
  link.href = `#${encodeURIComponent(name)}`;
  if (name === room) link.setAttribute('aria-current', 'page');
  const row = make('li');
  row.append(link, make('span', 'count', subscribers.total === 1 ? '1 here' : `${subscribers.total} here`));
  return row;
}

async function showRooms() {
  if (document.hidden) return;
  try {
    const response = await fetch(`/api/channels?limit=50&prefix=${encodeURIComponent(PREFIX)}`);
    const { channels } = await response.json();
    find('rooms').replaceChildren(...channels.map(makeRoom));
  } catch {
    // The state of the feed says that the server is away.
  }
}

// Begin.

find('room-form').addEventListener('submit', (submission) => {
  submission.preventDefault();
  location.hash = `#${encodeURIComponent(find('room').value)}`;
});

find('say-form').addEventListener('submit', (submission) => {
  submission.preventDefault();
  const text = find('text').value.trim();
  if (!text) return;
  find('text').value = '';
  find('fault').textContent = '';
  say(text);
});

find('name').addEventListener('change', () => {
  const name = find('name').value.trim() || memory.get('name') || 'guest';
  find('name').value = name;
  memory.set('name', name);
});

find('transport').addEventListener('change', ({ target }) => {
  memory.set('transport', target.value);
  feed.use(target.value);
});

find('scroll').addEventListener('scroll', () => {
  if (find('scroll').clientHeight !== height) return; // nobody has scrolled
  isReading = !isAtEnd();
  if (!isReading) find('newest').hidden = true;
});
// The keyboard of a phone, or the settings, take room: the newest message stays in sight.
new ResizeObserver(() => {
  height = find('scroll').clientHeight;
  if (!isReading) showEnd();
}).observe(find('scroll'));
find('newest').addEventListener('click', () => { showEnd(); find('text').focus(); });
find('name').value = memory.get('name') ?? `guest-${Math.floor(1000 + Math.random() * 9000)}`;
(find('transport').querySelector(`[value="${CSS.escape(memory.get('transport') ?? '')}"]`)
  ?? find('transport').querySelector('input')).checked = true;
find('settings').open = matchMedia('(min-width: 50rem)').matches;
for (const element of document.querySelectorAll('.script')) element.hidden = false;
addEventListener('hashchange', enter);
document.addEventListener('visibilitychange', showRooms);
setInterval(showRooms, ROOMS_MS);
enter();
