// SPDX-License-Identifier: MIT
// A player's side of the card table, over the command protocol: a token first, then what is told and said. All that is shown is what
// the program has published last, so that a page that is loaded again, or was away, shows the table as it is.
import { pause } from '../../channel.js';

const DELAY_MS = 500;
const DELAY_MAX_MS = 10000;
const find = (id) => document.getElementById(id);
let me = '';
let seat = ''; // the table that this player sits at
let cards = [];
let table;
let tables = [];
let socket;
let asked = 0;
let refs = 0;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// What is shown.

function showState(state, reason = '') {
  find('state').dataset.state = state;
  find('state').textContent = state;
  find('reason').textContent = reason;
  find('reason').hidden = !reason;
}

const colour = (card) => (/[♥♦]/.test(card) ? 'card red' : 'card');

function showTables() {
  find('room').hidden = !me || seat !== '';
  find('me').textContent = me;
  find('tables').replaceChildren(...tables.map(({ table: name, players, seats, is_playing: isPlaying }) => {
    const row = make('li');
    const join = make('button', '', 'Join');
    join.addEventListener('click', () => say({ op: 'join', table: name }));
    row.append(make('strong', '', name), make('span', '', `${players.join(', ') || 'nobody'} (${players.length} of ${seats})${isPlaying ? ', playing' : ''}`), make('br'), join);
    return row;
  }));
}

function showTable() {
  const isHere = seat !== '' && table?.table === seat;
  find('game').hidden = !isHere;
  if (!isHere) return;
  const isMine = table.turn === me;
  find('game-title').textContent = seat;
  find('players').replaceChildren(...table.players.map(({ name, cards: count }) => {
    const row = make('li', '', `${name}${name === me ? ' (you)' : ''}: ${count}`);
    if (name === table.turn) row.setAttribute('aria-current', 'true');
    return row;
  }));
  find('top').className = colour(table.top);
  find('top').textContent = table.top;
  find('deck').textContent = table.deck;
  find('take').disabled = !isMine;
  find('said').textContent = table.said;
  find('turn').textContent = table.is_playing ? (isMine ? 'It is your turn.' : `It is ${table.turn}’s turn.`) : '';
  find('turn').classList.toggle('mine', isMine);
  find('deal').hidden = table.is_playing;
  find('deal').disabled = table.players.length < 2;
  find('hand').replaceChildren(...cards.map((card) => {
    const row = make('li');
    const button = make('button', colour(card), card);
    button.disabled = !isMine;
    button.addEventListener('click', () => say({ op: 'put', card }));
    row.append(button);
    return row;
  }));
}

// What is said and told.

const send = (command) => socket.send(JSON.stringify(command));

function say(said) {
  find('fault').textContent = '';
  asked = ++refs;
  if (socket?.readyState === WebSocket.OPEN) send({ op: 'publish', channel: `cards/from/${me}`, data: { ...said, ref: asked } });
}

function sit(name) {
  if (name === seat) return;
  if (seat) send({ op: 'unsubscribe', channel: `cards/table/${seat}` });
  seat = name;
  table = undefined;
  if (seat) send({ op: 'subscribe', channel: `cards/table/${seat}`, last: 1 });
}

function take({ channel, data }) {
  if (channel === 'cards/tables') tables = data;
  else if (channel === `cards/table/${seat}`) table = data;
  else if (channel === `cards/player/${me}`) {
    sit(data.table);
    cards = data.cards;
    if (data.fault && data.ref === asked) find('fault').textContent = `Not allowed: ${data.fault}.`;
  }
  showTables();
  showTable();
}

/** One connection, from its authentication to its end; resolves to why it ended, with isFinal when another one would not help. */
function connect(token) {
  return new Promise((resolve) => {
    let end = { message: 'the connection was lost' };
    socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/ws`);
    socket.onopen = () => send({ op: 'auth', token });
    socket.onclose = ({ code, reason }) => resolve(code === 4401 ? { message: reason, isFinal: true } : end);
    socket.onmessage = ({ data }) => {
      const told = JSON.parse(data);
      if (told.op === 'authenticated') {
        me = told.sub;
        seat = '';
        send({ op: 'subscribe', channels: ['cards/tables', `cards/player/${me}`], last: 1 });
        showState('live');
        showTables();
      } else if (told.op === 'message') {
        take(told);
      } else if (told.op === 'error') {
        if (!me) {
          end = { message: told.message, isFinal: true };
          socket.close();
        } else {
          find('fault').textContent = told.message;
        }
      }
    };
  });
}

async function play(token) {
  let delay = DELAY_MS;
  find('token-form').hidden = true;
  showState('connecting');
  for (;;) {
    const began = Date.now();
    const { message, isFinal } = await connect(token);
    if (isFinal) {
      me = '';
      showState('refused', `The token is refused: ${message}.`);
      for (const id of ['room', 'game']) find(id).hidden = true;
      find('token-form').hidden = false;
      return;
    }
    showState('reconnecting', 'The connection was lost. Trying again; your seat and your cards are kept.');
    if (Date.now() - began > DELAY_MAX_MS) delay = DELAY_MS;
    await pause(delay * (0.5 + Math.random()), AbortSignal.timeout(DELAY_MAX_MS));
    delay = Math.min(2 * delay, DELAY_MAX_MS);
  }
}

find('take').addEventListener('click', () => say({ op: 'take' }));
find('deal').addEventListener('click', () => say({ op: 'deal' }));
find('leave').addEventListener('click', () => say({ op: 'leave' }));
find('token-form').addEventListener('submit', (submission) => {
  submission.preventDefault();
  location.hash = find('token').value.trim();
});
addEventListener('hashchange', () => location.reload());
for (const element of document.querySelectorAll('main')) element.hidden = false;
// Behind the #, the token is sent to no server and stands in no log.
const token = location.hash.slice(1);
if (token) play(token);
else {
  find('token-form').hidden = false;
  showState('refused', '');
  find('state').textContent = 'no token';
}
