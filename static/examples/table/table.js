// SPDX-License-Identifier: MIT
import { Sluice } from '../../sluice.js';
import { explainFault, explainReset } from '../../words.js';

const SIZE_MAX = 10 * 2 ** 20;
const PART_BYTES = 256 * 2 ** 10;
/** Parts on their way that the server has not taken yet. */
const WINDOW = 4;
/** Without a word from the program, or the server, for so long something is said. */
const PATIENCE_MS = 5000;
const sluice = new Sluice();
const find = (id) => document.getElementById(id);
const address = () => new URL(location.href).searchParams;
let name = '';
let table; // what the program says of it
let page = 1;
let tableFeed;
let pageFeed;
let patience;
let upload;

function make(tag, text) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  return element;
}

const tell = (request) => sluice.publish('tables/inbox', request);
const count = (number, what) => `${number.toLocaleString('en')} ${what}${number === 1 ? '' : 's'}`;

// The table.

const showRefused = (fault) => showState('refused', explainFault(fault));

function showState(state, reason = '') {
  find('state').dataset.state = state;
  find('state').textContent = state;
  find('reason').textContent = reason ? `${reason}.${state === 'reconnecting' ? ' Trying again; what is shown stays.' : ''}` : '';
  find('reason').hidden = !reason;
}

function showRows(rows, first) {
  find('body').replaceChildren(...rows.map((row, i) => {
    const element = make('tr');
    element.append(make('td', first + i), ...row.map((cell) => {
      const data = make('td', cell);
      data.title = cell;
      return data;
    }));
    return element;
  }));
}

function showBad({ bad, bad_count: total }) {
  find('bad').hidden = total === 0;
  find('bad').querySelector('summary').textContent = `${count(total, 'row')} left out`;
  find('bad-rows').replaceChildren(...bad.map(({ line, fault }) => make('li', `line ${line} ${fault}`)));
  if (total > bad.length) find('bad-rows').append(make('li', `and ${count(total - bad.length, 'more')}`));
}

function showPager() {
  find('page').value = page;
  find('pages').textContent = table.pages.toLocaleString('en');
  find('rows').textContent = table.rows.toLocaleString('en');
  for (const id of ['first', 'previous']) find(id).disabled = page === 1;
  for (const id of ['next', 'last']) find(id).disabled = page === table.pages;
}

/** The program publishes a page when somebody asks; who comes after him finds it there. */
function openPage(number) {
  page = Math.min(Math.max(number, 1), table.pages);
  showPager();
  pageFeed?.close();
  const { version } = table;
  const here = page;
  pageFeed = sluice.subscribe(`tables/${name}/${version}/${here}`, {
    since: 'last=1',
    onopen: () => { tell({ op: 'page', table: name, version, page: here }).catch(showRefused); },
    onmessage: ({ data }) => {
      showRows(data.rows, data.first);
      find('present').dataset.shown = `${version}/${here}`;
    },
    onrefused: showRefused,
  });
}

function goTo(number) {
  openPage(number);
  const url = new URL(location.href);
  url.searchParams.set('page', page);
  history.replaceState(null, '', url);
}

/** Everybody stays on the page that he is on, as far as there is one. */
function showTable(next) {
  const isNew = table && table.version !== next.version;
  table = next;
  find('none').hidden = true;
  find('present').hidden = false;
  find('news').textContent = isNew ? `A new upload${next.title ? ` (${next.title})` : ''} has just come.` : '';
  find('columns').replaceChildren(...['', ...table.columns].map((column) => {
    const cell = make('th', column);
    cell.scope = 'col';
    return cell;
  }));
  showBad(table);
  openPage(page);
}

function openTable() {
  tableFeed?.close();
  pageFeed?.close();
  table = undefined;
  name = address().get('table') ?? '';
  page = Number.parseInt(address().get('page') ?? '1', 10) || 1;
  find('viewer').hidden = !name;
  find('present').hidden = true;
  find('none').hidden = false;
  find('table-title').textContent = name;
  document.title = `${name || 'Table viewer'} · Sluice`;
  if (!name) return;
  tableFeed = sluice.subscribe(`tables/${name}`, {
    since: 'last=1',
    onmessage: ({ data }) => showTable(data),
    onreset: (reset) => { find('news').textContent = explainReset(reset); },
    onrefused: showRefused,
  });
}

// Uploading.

const makeKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36).padStart(7, '0')).join('');
const nameOf = (file) => file.name.replace(/\.[^.]*$/, '').replace(/[^A-Za-z0-9_-]+/g, '-').slice(0, 64) || 'table';

function showProgress(taken, size) {
  find('progress').value = taken / size;
  find('progress-label').textContent = taken < size ? `${Math.floor((100 * taken) / size)} % of ${count(size, 'byte')}` : 'being read';
  clearTimeout(patience);
  patience = setTimeout(() => {
    find('progress-label').textContent = 'waiting for the program that reads it; contrib/examples/run table starts it';
  }, PATIENCE_MS);
}

/**
 * Sends the file over a WebSocket, each part a binary message of the channel of this upload, which comes back when the server has taken
 * it. The program's answer comes as text. Resolves to it; throws what is wrong.
 */
async function send(file, into, signal) {
  if (file.size === 0) throw new Error('the file is empty');
  if (file.size > SIZE_MAX) throw new Error(`the file has ${count(file.size, 'byte')}; at most ${count(SIZE_MAX, 'byte')} are taken`);
  const key = makeKey();
  const channel = `tables/inbox/${key}`;
  const parts = Math.ceil(file.size / PART_BYTES);
  const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/channels/${channel}?channel=${channel}/answer`);
  socket.binaryType = 'arraybuffer';
  let sent = 0;
  let taken = 0;

  const sendMore = async () => {
    while (sent < parts && sent - taken < WINDOW) {
      const part = sent++;
      const data = await file.slice(part * PART_BYTES, (part + 1) * PART_BYTES).arrayBuffer();
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send(data);
    }
  };

  try {
    return await new Promise((resolve, reject) => {
      let sending = Promise.resolve();
      const goOn = () => { sending = sending.then(sendMore).catch(reject); };
      socket.onopen = () => tell({ op: 'upload', key, table: into, title: file.name, size: file.size, parts }).then(goOn, reject);
      socket.onmessage = ({ data }) => {
        if (typeof data === 'string') {
          const said = JSON.parse(data);
          if (said.error) reject(new Error(said.error));
          else if (said.version) resolve(said);
          return;
        }
        taken++;
        showProgress(Math.min(taken * PART_BYTES, file.size), file.size);
        goOn();
      };
      socket.onclose = ({ reason }) => reject(new Error(reason || 'the connection was lost'));
      signal.addEventListener('abort', () => {
        if (socket.readyState === WebSocket.OPEN) socket.send('{"op":"give up"}');
        reject(new Error('the upload was given up'));
      });
    });
  } finally {
    socket.close();
  }
}

async function take(file) {
  upload?.abort();
  const turn = new AbortController();
  upload = turn;
  const into = name || nameOf(file);
  find('fault').textContent = '';
  find('going').hidden = false;
  showProgress(0, file.size || 1);
  try {
    await send(file, into, turn.signal);
    if (into !== name) {
      history.pushState(null, '', `?table=${encodeURIComponent(into)}`);
      openTable();
    }
  } catch (fault) {
    if (upload === turn) find('fault').textContent = `${file.name}: ${fault.message}`;
  } finally {
    if (upload === turn) {
      clearTimeout(patience);
      find('going').hidden = true;
    }
  }
}

// Begin.

sluice.addEventListener('open', () => showState('live'));
sluice.addEventListener('lost', ({ fault }) => showState('reconnecting', explainFault(fault)));

find('file').addEventListener('change', ({ target }) => {
  if (target.files[0]) take(target.files[0]);
  target.value = '';
});
find('cancel').addEventListener('click', () => upload.abort());
for (const type of ['dragenter', 'dragover']) {
  document.addEventListener(type, (event) => { event.preventDefault(); find('drop').classList.add('over'); });
}
document.addEventListener('dragleave', ({ relatedTarget }) => { if (!relatedTarget) find('drop').classList.remove('over'); });
document.addEventListener('drop', (event) => {
  event.preventDefault();
  find('drop').classList.remove('over');
  const [file] = event.dataTransfer.files;
  if (file) take(file);
});
find('first').addEventListener('click', () => goTo(1));
find('previous').addEventListener('click', () => goTo(page - 1));
find('next').addEventListener('click', () => goTo(page + 1));
find('last').addEventListener('click', () => goTo(table.pages));
find('page-form').addEventListener('submit', (submission) => {
  submission.preventDefault();
  goTo(Number.parseInt(find('page').value, 10));
});
addEventListener('popstate', openTable);
for (const element of document.querySelectorAll('.script')) element.hidden = false;
openTable();
