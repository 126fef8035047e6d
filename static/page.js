// SPDX-License-Identifier: MIT
import { channelUrl, publish, subscribe } from './sluice.js';

const ROWS = 200;
const NEWS_MS = 3000;
const find = (id) => document.getElementById(id);
const events = new Set();
let feed;
let place;
let unread = 0;

function current() {
  const name = location.hash.slice(1) || 'updates';
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // a broken escape: the server says what is wrong with the name
  }
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function addRow(row) {
  const list = find('messages');
  list.prepend(row);
  while (list.children.length > ROWS) list.lastElementChild.remove();
  showEmpty();
}

// A screen reader hears of a burst once, not of each message.
function announce() {
  if (unread++ > 0) return;
  setTimeout(() => {
    find('news').textContent = `${unread} new ${unread === 1 ? 'message' : 'messages'}`;
    unread = 0;
  }, NEWS_MS);
}

// Offsets count without gaps, so what EventSource kept from the page can at least be counted.
function showUnshown(id) {
  const [epoch, offset] = id.split('-');
  const count = place?.epoch === epoch ? offset - place.offset - 1 : 0;
  place = { epoch, offset: Number(offset) };
  if (count <= 0) return;
  addRow(make('li', 'unshown', `${count} ${count === 1 ? 'message' : 'messages'} not shown: no longer kept, or with `
    + 'an event name that is not in the list above.'));
}

function showMessage({ id, event, data }) {
  showUnshown(id);
  const now = new Date();
  const time = make('time', '', now.toLocaleTimeString([], { hourCycle: 'h23' }));
  time.dateTime = now.toISOString();
  time.title = `Received ${now.toLocaleString()}`;
  const meta = make('div', 'meta');
  meta.append(time, make('span', 'id', id));
  if (event) meta.append(make('span', 'event', event));
  const row = make('li');
  row.append(meta, make('pre', '', data));
  addRow(row);
  announce();
}

const REASONS = {
  epoch: 'the channel was begun anew since you were last here.',
  trimmed: 'some messages are no longer kept.',
  future: 'your place was ahead of the channel.',
  purged: 'the channel’s messages were deleted.',
  failover: 'the broker lost messages.',
};

function showReset({ reason, missed, cursor }) {
  const [epoch, offset] = cursor.split('-');
  place = { epoch, offset: Number(offset) };
  const count = missed === undefined ? '' : ` ${missed} missed.`;
  const row = make('li', 'reset');
  row.append(make('strong', '', `Reset (${reason}):`), ` ${REASONS[reason] ?? ''}${count}`);
  addRow(row);
  find('news').textContent = row.textContent;
}

function showEmpty() {
  find('empty').hidden = find('messages').children.length > 0 || find('state').dataset.state === 'refused';
}

function showState(state, reason) {
  find('state').dataset.state = state;
  find('state').textContent = state;
  const more = state === 'refused' ? '' : ' The feed goes on by itself as soon as it can.';
  find('lines').hidden = state === 'refused';
  find('reason').hidden = !reason;
  find('reason').textContent = reason ? `The channel cannot be followed: ${reason}.${more}` : '';
  showEmpty();
}

function quote(text) {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

async function copy(button, code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = 'Copied';
  } catch {
    // Browsers have no clipboard for pages over plain HTTP from another machine.
    getSelection().selectAllChildren(code);
    button.textContent = 'Selected';
  }
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

function makeLine([title, line]) {
  const code = make('code', '', line);
  const button = make('button', 'quiet', 'Copy');
  button.type = 'button';
  button.setAttribute('aria-label', `Copy: ${title}`);
  button.addEventListener('click', () => copy(button, code));
  const term = make('dt');
  term.append(make('span', '', title), button);
  const value = make('dd');
  value.append(code);
  const group = make('div');
  group.append(term, value);
  return group;
}

function showLines() {
  const url = location.origin + channelUrl(current());
  const batch = JSON.stringify([{ channel: current(), data: 'one' }, { channel: current(), data: { two: 2 } }]);
  const text = `curl -d 'follow the white rabbit' ${quote(url)}`;
  const receive = {
    'Server-Sent Events': `curl -N -H 'Accept: text/event-stream' ${quote(url)}`,
    'NDJSON stream': `curl -N -H 'Accept: application/x-ndjson' ${quote(url)}`,
    'Long-poll: the next message as it is': `curl -i ${quote(url)}`,
    'Long-poll: all since a cursor, as JSON': `curl -H 'Accept: application/json' ${quote(`${url}?since=earliest`)}`,
  };
  const send = {
    Text: text,
    JSON: `curl -H 'Content-Type: application/json' -d '{"score":[1,0]}' ${quote(url)}`,
    'A batch, for any channels': `curl -d ${quote(batch)} ${quote(`${location.origin}/channels`)}`,
  };
  find('receive').replaceChildren(...Object.entries(receive).map(makeLine));
  find('send').replaceChildren(...Object.entries(send).map(makeLine));
  find('first').textContent = text;
}

function clear() {
  find('messages').replaceChildren();
  showEmpty();
}

function showEvents() {
  find('events').value = [...events].join(', ');
  feed.listen(events);
}

function enter() {
  feed?.stop();
  place = undefined;
  find('channel').value = current();
  document.title = `${current()} · Sluice`;
  clear();
  feed = subscribe(current(), { onMessage: showMessage, onReset: showReset, onState: showState }, events);
  if (!find('lines').hidden) showLines();
}

find('channel-form').addEventListener('submit', (submission) => {
  submission.preventDefault();
  const hash = `#${encodeURIComponent(find('channel').value.trim())}`;
  if (hash !== location.hash) location.hash = hash;
  else if (find('state').dataset.state === 'refused') enter();
});

find('events').addEventListener('change', () => {
  events.clear();
  for (const name of find('events').value.split(',').map((part) => part.trim())) if (name) events.add(name);
  showEvents();
});

find('publish-form').addEventListener('submit', async (submission) => {
  submission.preventDefault();
  const name = find('event').value.trim();
  const output = find('published');
  // An event's name has to be listened to before the event comes.
  if (name && !events.has(name)) {
    events.add(name);
    showEvents();
  }
  try {
    const answer = await publish(current(), find('data').value, find('type').value, name);
    output.className = '';
    output.replaceChildren('Accepted as ', make('code', '', answer.id));
  } catch (fault) {
    output.className = 'fault';
    output.textContent = `Not published: ${fault.message}`;
  }
});

find('data').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) find('publish-form').requestSubmit();
});

find('clear').addEventListener('click', clear);
addEventListener('hashchange', enter);
enter();
