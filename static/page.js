import { publish, subscribe } from './sluice.js';

const ROWS = 200;
const find = (id) => document.getElementById(id);
const events = new Set();
let feed;

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
  find('empty').hidden = true;
}

function showMessage({ id, event, data }) {
  const row = make('li');
  const meta = make('div', 'meta');
  meta.append(make('time', '', new Date().toLocaleTimeString()), make('span', 'id', id));
  if (event) meta.append(make('span', 'event', event));
  row.append(meta, make('pre', '', data));
  addRow(row);
}

const REASONS = {
  epoch: 'The channel was begun anew since you were last here.',
  trimmed: 'Some messages are no longer kept.',
  future: 'Your place was ahead of the channel.',
  purged: 'The channel’s messages were deleted.',
  failover: 'The broker lost messages.',
};

function showReset({ reason, missed }) {
  const count = missed === undefined ? '' : ` ${missed} missed.`;
  addRow(make('li', 'reset', `Reset (${reason}): ${REASONS[reason] ?? ''}${count}`));
}

function showState(state) {
  find('state').dataset.state = state;
  find('state').textContent = state;
}

function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function showLines() {
  const url = `${location.origin}/channels/${current().split('/').map(encodeURIComponent).join('/')}`;
  const batch = JSON.stringify([{ channel: current(), data: 'one' }, { channel: current(), data: { two: 2 } }]);
  const lines = {
    'Server-Sent Events': `curl -N -H 'Accept: text/event-stream' ${quote(url)}`,
    'NDJSON stream': `curl -N -H 'Accept: application/x-ndjson' ${quote(url)}`,
    'Long-poll: the next message': `curl -i ${quote(url)}`,
    'Long-poll: everything since a cursor, as JSON': `curl -H 'Accept: application/json' ${quote(`${url}?since=earliest`)}`,
    'Publish text': `curl -d 'follow the white rabbit' ${quote(url)}`,
    'Publish JSON': `curl -H 'Content-Type: application/json' -d '{"score":[1,0]}' ${quote(url)}`,
    'Publish a batch': `curl -d ${quote(batch)} ${quote(`${location.origin}/channels`)}`,
  };
  find('lines').replaceChildren(...Object.entries(lines).flatMap(([title, line]) => {
    const copy = make('button', '', 'Copy');
    copy.type = 'button';
    copy.setAttribute('aria-label', `Copy: ${title}`);
    copy.addEventListener('click', async () => {
      await navigator.clipboard.writeText(line);
      copy.textContent = 'Copied';
      setTimeout(() => { copy.textContent = 'Copy'; }, 1500);
    });
    const value = make('dd');
    value.append(make('code', '', line), copy);
    return [make('dt', '', title), value];
  }));
}

function clear() {
  find('messages').replaceChildren();
  find('empty').hidden = false;
}

function follow() {
  feed?.stop();
  feed = subscribe(current(), { onMessage: showMessage, onReset: showReset, onState: showState }, events);
}

function enter() {
  find('channel').value = current();
  document.title = `${current()} · Sluice`;
  clear();
  showLines();
  follow();
}

find('channel-form').addEventListener('submit', (event) => {
  event.preventDefault();
  location.hash = encodeURIComponent(find('channel').value.trim());
});

find('publish-form').addEventListener('submit', async (submission) => {
  submission.preventDefault();
  const name = find('event').value.trim();
  const output = find('published');
  // An event's name has to be listened to before the event comes.
  if (name) {
    events.add(name);
    feed.listen(name);
  }
  try {
    const answer = await publish(current(), find('data').value, find('type').value, name);
    output.className = '';
    output.textContent = `Accepted as ${answer.id}`;
  } catch (fault) {
    output.className = 'fault';
    output.textContent = fault.message;
  }
});

find('clear').addEventListener('click', clear);
addEventListener('hashchange', enter);
enter();
