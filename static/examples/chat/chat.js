// SPDX-License-Identifier: MIT
import { Sluice } from '../../sluice.js';
import { explainFault, explainReset, toBase64 } from '../../words.js';

const ROWS = 500;
const ROOMS_MS = 5000;
/** What was said before one came is not read out. */
const QUIET_MS = 1000;
const NAME_MAX = 40;
/** Somebody types for so long after he was last seen typing; he says so once in half of it. */
const TYPING_MS = 4000;
const PREFIX = 'chat/';
/** What a room is below: with the option `tree` it is told everything that is said. */
const ALL = 'chat';
const HISTORY = 'last=50';
/** Says one thing after another, whichever transport is chosen meanwhile. */
const publisher = new Sluice('/', { share: false });
const find = (id) => document.getElementById(id);
const sending = new Map(); // rows of what was said, by key, until the room shows them
const keys = new Set(); // of the messages that are shown: what was repeated is shown once
const unread = new Map(); // messages by room, of rooms that one is not in
const typing = new Map(); // timers by name
let sluice;
let inside; // what is said in the room
let elsewhere; // and in all rooms
let room;
let toldTyping = 0;
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

const isBelow = (name, above) => name.startsWith(`${above}/`);
const roomOf = ({ channel }) => channel?.slice(PREFIX.length) ?? '';

function makeLink(name, text) {
  const link = make('a', '', text);
  link.href = `#${encodeURIComponent(name)}`;
  return link;
}

function makeRow({ from, text, at, below }, isOwn) {
  const row = make('li', isOwn ? 'own' : '');
  const meta = make('div', 'meta');
  const name = make('span', 'from', from);
  name.style.setProperty('--hue', hueOf(from));
  meta.append(name);
  if (below) meta.append(makeLink(`${room}/${below}`, below));
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
  if (value instanceof Uint8Array) value = toBase64(value);
  return { text: typeof value === 'string' ? value : JSON.stringify(value), from: 'somebody', key: '' };
}

/** What was said is in the room, or never will be. */
function settle(key) {
  sending.get(key)?.remove();
  sending.delete(key);
}

function showMessage({ data, time, event, channel }) {
  const said = readSaid(data);
  if (event === 'typing') {
    showTyping(said.from);
    return;
  }
  stopTyping(said.from);
  settle(said.key);
  if (said.key && keys.has(said.key)) return;
  const below = channel && isBelow(roomOf({ channel }), room) ? roomOf({ channel }).slice(room.length + 1) : '';
  const row = makeRow({ ...said, at: time ?? said.at, below }, said.from === find('name').value);
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

function showState(state, reason = '') {
  find('state').dataset.state = state;
  find('state').textContent = state === 'live' ? `live over ${chosen().parentElement.textContent.trim()}` : state;
  find('reason').textContent = !reason ? '' : state === 'refused' ? `This room cannot be joined: ${reason}.` : `${reason}. Trying again.`;
  find('reason').hidden = !reason;
  if (state === 'live') setTimeout(() => find('said').setAttribute('aria-live', 'polite'), QUIET_MS);
}

// Who is here, and who types.

function listNames(names) {
  return names.length < 3 ? names.join(' and ') : `${names.slice(0, 2).join(', ')} and ${names.length - 2} more`;
}

function showTypers() {
  const names = [...typing.keys()];
  find('typing').textContent = names.length === 0 ? '' : `${listNames(names)} ${names.length === 1 ? 'is' : 'are'} typing`;
}

function stopTyping(name) {
  clearTimeout(typing.get(name));
  if (typing.delete(name)) showTypers();
}

function showTyping(name) {
  if (name === find('name').value) return;
  clearTimeout(typing.get(name));
  typing.set(name, setTimeout(stopTyping, TYPING_MS, name));
  showTypers();
}

/** Is told to who is there and kept nowhere; when it is lost, nothing is. */
function tellTyping() {
  if (!find('text').value || Date.now() - toldTyping < TYPING_MS / 2 || sluice.state !== 'open') return;
  toldTyping = Date.now();
  publisher.publish(PREFIX + room, { from: find('name').value, text: '' }, { event: 'typing', store: false }).catch(() => {});
}

function showPeople(members) {
  const names = [...members.keys()].sort();
  find('people').replaceChildren(...names.map((name) => make('li', name === find('name').value ? 'own' : '', name)));
  find('here').hidden = names.length === 0;
  find('here-count').textContent = names.length;
  for (const name of typing.keys()) if (!members.has(name)) stopTyping(name);
}

/** Rooms where something was said since, and that are not shown. */
function countUnread(message) {
  const name = roomOf(message);
  if (!name || name === room || isBelow(name, room) || message.event || message.stored === false) return;
  unread.set(name, (unread.get(name) ?? 0) + 1);
  showUnread();
}

/** A window has a connection of its own: in each one may be somebody else, and choose another transport. */
function follow(since = HISTORY, sinceElsewhere = 'now') {
  sluice?.close();
  showState('connecting');
  const here = new Sluice('/', { transports: [chosen().value], share: false });
  sluice = here;
  here.addEventListener('open', () => { if (!inside.isClosed) showState('live'); });
  here.addEventListener('lost', ({ fault }) => { if (!inside.isClosed) showState('reconnecting', explainFault(fault)); });
  inside = here.subscribe(PREFIX + room, {
    since, as: find('name').value, onmessage: showMessage, onreset: showReset, onrefused: (fault) => showState('refused', explainFault(fault)),
  });
  elsewhere = here.subscribe(ALL, { since: sinceElsewhere, onmessage: countUnread });
  here.presence(PREFIX + room, { onchange: ({ members }) => { if (here === sluice) showPeople(members); } })
    .catch(() => {}); // a server without presence
}

// Saying something.

function refuse({ text, key }, fault) {
  if (!sending.has(key)) return; // the room has shown it, or has been left
  changeList(() => settle(key));
  find('fault').textContent = `Not sent: ${explainFault(fault)}`;
  if (!find('text').value) find('text').value = text;
}

function say(text) {
  const item = { from: find('name').value, text, key: makeKey(), at: Date.now() };
  const row = makeRow(item, true);
  row.append(make('span', 'sending', 'sending'));
  toldTyping = 0;
  sending.set(item.key, row);
  changeList(() => find('outbox').append(row));
  showEnd();
  publisher.publish(PREFIX + room, item, { id: item.key }).catch((fault) => refuse(item, fault)); // its row goes when the room shows it
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
  room = currentRoom();
  for (const list of ['said', 'outbox']) find(list).replaceChildren();
  sending.clear();
  keys.clear();
  find('said').setAttribute('aria-live', 'off');
  find('empty').hidden = false;
  showEnd();
  find('fault').textContent = '';
  find('room').value = room;
  find('title').textContent = room;
  document.title = `${room} · Chat`;
  for (const name of typing.keys()) stopTyping(name);
  for (const name of unread.keys()) if (name === room || isBelow(name, room)) unread.delete(name);
  showPeople(new Map());
  follow();
  showRooms();
}

function makeRoom({ channel, subscribers }) {
  const name = roomOf({ channel });
  const link = makeLink(name, name.slice(name.lastIndexOf('/') + 1));
  link.title = name;
  if (name === room) link.setAttribute('aria-current', 'page');
  const row = make('li');
  row.dataset.room = name;
  row.style.setProperty('--depth', name.split('/').length - 1);
  row.append(link, make('span', 'unread'), make('span', 'count', subscribers.total === 1 ? '1 here' : `${subscribers.total} here`));
  return row;
}

function showUnread() {
  const rows = new Map([...find('rooms').children].map((row) => [row.dataset.room, row]));
  for (const [name, row] of rows) row.querySelector('.unread').textContent = unread.get(name) ?? '';
  if ([...unread.keys()].some((name) => !rows.has(name))) showRooms();
}

async function showRooms() {
  if (document.hidden) return;
  try {
    const response = await fetch(`/api/channels?limit=50&prefix=${encodeURIComponent(PREFIX)}`);
    const { channels } = await response.json();
    find('rooms').replaceChildren(...channels.filter(({ channel }) => !channel.endsWith('/$presence')).map(makeRoom));
    for (const row of find('rooms').children) row.querySelector('.unread').textContent = unread.get(row.dataset.room) ?? '';
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
  enter(); // under another name one is somebody else
});

find('transport').addEventListener('change', ({ target }) => {
  memory.set('transport', target.value);
  follow(inside.cursor || HISTORY, elsewhere.cursor || 'now');
});

find('text').addEventListener('input', tellTyping);

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
