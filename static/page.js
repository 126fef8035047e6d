// SPDX-License-Identifier: MIT
import { Sluice } from './sluice.js';
import { explainFault, explainReset, toBase64 } from './words.js';

const ROWS = 200;
const NEWS_MS = 3000;
const CHANNELS = 50;
const CHANNELS_MS = 5000;
const find = (id) => document.getElementById(id);
/** What is shown is this page's own connection. */
const sluice = new Sluice('/', { transports: ['stream', 'poll'], share: false });
let feed;
let unread = 0;

function current() {
  const name = location.hash.slice(1) || 'news';
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // a broken escape: the server says what is wrong with the name
  }
}

/** Of a segment . or .. the browser would make another path: without it the server says that there is no such channel. */
const channelPath = (channel) => `/channels/${channel.split('/').map((part) => encodeURIComponent(part.replace(/^\.\.?$/, ''))).join('/')}`;

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

function textOf({ type, data }) {
  if (type === 'binary') return toBase64(data);
  return type === 'json' ? JSON.stringify(data) : data;
}

function showMessage(message) {
  const moment = new Date(message.time);
  const time = make('time', '', moment.toLocaleTimeString([], { hourCycle: 'h23' }));
  time.dateTime = moment.toISOString();
  time.title = `Published ${moment.toLocaleString()}`;
  const meta = make('div', 'meta');
  meta.append(time, make('span', 'id', message.id));
  if (message.event) meta.append(make('span', 'event', message.event));
  if (message.type === 'binary') meta.append(make('span', '', 'binary, as base64'));
  const row = make('li');
  row.append(meta, make('pre', '', textOf(message)));
  addRow(row);
  announce();
}

function showReset(reset) {
  const { reason, withdrawn } = reset;
  for (const row of [...find('messages').querySelectorAll('li:not(.reset, .gone)')].slice(0, withdrawn ?? 0)) row.classList.add('gone');
  const row = make('li', 'reset');
  row.append(make('strong', '', `Reset (${reason}):`), ` ${explainReset(reset)}`);
  addRow(row);
  find('news').textContent = row.textContent;
}

function showEmpty() {
  find('empty').hidden = find('messages').children.length > 0 || find('state').dataset.state === 'refused';
}

function explain(state, reason) {
  if (state === 'polling') {
    return 'No stream comes through: a proxy on the way may be buffering. The feed goes on by long-poll.';
  }
  if (!reason) return '';
  const more = state === 'refused' ? '' : ' The feed goes on by itself as soon as it can.';
  return `The channel cannot be followed: ${reason}.${more}`;
}

function showState(state, reason = '') {
  find('state').dataset.state = state;
  find('state').textContent = state === 'polling' ? 'live, by long-poll' : state;
  find('lines').hidden = state === 'refused';
  find('reason').textContent = explain(state, reason);
  find('reason').hidden = !find('reason').textContent;
  showEmpty();
}

function showOpen() {
  if (sluice.state === 'open') showState(sluice.transport === 'poll' ? 'polling' : 'live');
}

// The channels that there are.

function makeCell(className, ...content) {
  const cell = make('td', className);
  cell.append(...content);
  return cell;
}

function makeChannel({ channel, messages, subscribers, last_published: published }) {
  const link = make('a', '', channel);
  link.href = `#${encodeURIComponent(channel)}`;
  if (channel === current()) link.setAttribute('aria-current', 'page');
  const moment = published ? new Date(published) : null;
  const time = make('time', '', moment ? moment.toLocaleTimeString([], { hourCycle: 'h23' }) : 'never');
  if (moment) time.dateTime = moment.toISOString();
  const name = make('th');
  name.scope = 'row';
  name.append(link);
  const row = make('tr');
  row.append(name, makeCell('number', messages), makeCell('number', subscribers.total), makeCell('number', time));
  return row;
}

async function showChannels() {
  if (document.hidden) return;
  try {
    const response = await fetch(`/api/channels?limit=${CHANNELS}`);
    if (!response.ok) throw new Error(response.status);
    const { channels, next } = await response.json();
    find('channels').replaceChildren(...channels.map(makeChannel));
    find('channels-table').hidden = channels.length === 0;
    find('channels-note').textContent = next ? `The first ${CHANNELS}, by name.`
      : channels.length === 0 ? 'None yet: a channel exists as soon as somebody uses it.' : '';
  } catch {
    find('channels-note').textContent = 'The server does not say which channels there are now.';
  }
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
  const url = location.origin + channelPath(current());
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

function enter() {
  feed?.close();
  find('channel').value = current();
  document.title = `${current()} · Sluice`;
  clear();
  showState('connecting');
  feed = sluice.subscribe(current(), {
    onopen: showOpen,
    onmessage: showMessage,
    onreset: showReset,
    onrefused: (fault) => showState('refused', explainFault(fault)),
  });
  showLines();
  showChannels();
}

/** One request, as curl makes it: what is refused is said at once. */
async function publish(event, type, body) {
  const query = event && `?${new URLSearchParams({ event })}`;
  const response = await fetch(channelPath(current()) + query, { method: 'POST', body, headers: { 'Content-Type': type } })
    .catch(() => { throw new Error('the server does not answer'); });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.message ?? `the answer was ${response.status} ${response.statusText}`);
  return answer;
}

sluice.addEventListener('open', showOpen);
sluice.addEventListener('lost', ({ fault }) => showState('reconnecting', explainFault(fault)));

find('channel-form').addEventListener('submit', (submission) => {
  submission.preventDefault();
  const hash = `#${encodeURIComponent(find('channel').value.trim())}`;
  if (hash !== location.hash) location.hash = hash;
  else if (find('state').dataset.state === 'refused') enter();
});

find('publish-form').addEventListener('submit', async (submission) => {
  submission.preventDefault();
  const output = find('published');
  try {
    const answer = await publish(find('event').value.trim(), find('type').value, find('data').value);
    output.className = '';
    output.replaceChildren('Accepted as ', make('code', '', answer.id));
    showChannels();
  } catch (fault) {
    output.className = 'fault';
    output.textContent = `Not published: ${fault.message}`;
  }
});

find('data').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  find('publish-form').requestSubmit();
});

find('clear').addEventListener('click', clear);
for (const element of document.querySelectorAll('.script')) element.hidden = false;
addEventListener('hashchange', enter);
document.addEventListener('visibilitychange', showChannels);
setInterval(showChannels, CHANNELS_MS);
enter();
