// SPDX-License-Identifier: MIT
// A player's side of the card table. All that is shown is what the program has published last, so that a page that is loaded again, or
// was away, shows the table as it is.
import { Sluice } from '../../sluice.js';
import { explainFault } from '../../words.js';

const find = (id) => document.getElementById(id);
let me; // as the token says
let seat = ''; // the table that this player sits at
let seatFeed;
let sluice;
let cards = [];
let table;
let tables = [];
let asked = 0;

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
  find('room').hidden = seat !== '';
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

function say(said) {
  find('fault').textContent = '';
  sluice.publish(`cards/from/${me}`, { ...said, ref: ++asked }).catch((fault) => { find('fault').textContent = explainFault(fault); });
}

/** The newest of a channel, and all that comes. */
const follow = (channel) => sluice.subscribe(channel, { since: 'last=1', onmessage: take, onrefused: refuse });

function sit(name) {
  if (name === seat) return;
  seatFeed?.close();
  seat = name;
  table = undefined;
  if (seat) seatFeed = follow(`cards/table/${seat}`);
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

function refuse(fault) {
  sluice.close();
  showState('refused', `The token is refused: ${explainFault(fault)}.`);
  for (const id of ['room', 'game']) find(id).hidden = true;
  find('token-form').hidden = false;
}

/** Whom a JSON Web Token is for; the server is who checks it. */
function readName(token) {
  try {
    return JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).sub;
  } catch {
    return 'nobody';
  }
}

function play(token) {
  showState('connecting');
  me = readName(token);
  sluice = new Sluice('/', { token });
  sluice.addEventListener('open', () => {
    showState('live');
    showTables();
  });
  sluice.addEventListener('lost', () => showState('reconnecting', 'The connection was lost. Trying again; your seat and your cards are kept.'));
  for (const channel of ['cards/tables', `cards/player/${me}`]) follow(channel);
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
