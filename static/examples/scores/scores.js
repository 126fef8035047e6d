// SPDX-License-Identifier: MIT
import { Sluice } from '../../sluice.js';
import { explainFault } from '../../words.js';

const HISTORY = 'last=100';
const NAME_MAX = 80;
const find = (id) => document.getElementById(id);
const rows = new Map();

/** What came by HTTP is JSON, what came by Redis is text. Anybody may publish anything: what is no score is passed over. */
function readScore(data) {
  let score = data;
  if (typeof data === 'string') {
    try { score = JSON.parse(data); } catch { return null; }
  }
  const { match, home, away, scorer } = score ?? {};
  if (typeof match !== 'string' || !match || !Number.isInteger(home) || !Number.isInteger(away)) return null;
  return { match: match.slice(0, NAME_MAX), home, away, scorer: typeof scorer === 'string' ? scorer.slice(0, NAME_MAX) : '' };
}

function makeRow(match) {
  const row = document.createElement('tr');
  const name = document.createElement('th');
  name.scope = 'row';
  name.textContent = match;
  const score = document.createElement('td');
  score.className = 'number';
  row.append(name, score, document.createElement('td'));
  find('matches').append(row);
  rows.set(match, row);
  find('board').hidden = false;
  find('none').hidden = true;
  return row;
}

function show({ data }) {
  const score = readScore(data);
  if (!score) return;
  const row = rows.get(score.match) ?? makeRow(score.match);
  row.children[1].textContent = `${score.home} : ${score.away}`;
  row.children[2].textContent = score.scorer;
  row.classList.remove('fresh');
  requestAnimationFrame(() => row.classList.add('fresh'));
}

function showState(state, reason = '') {
  find('state').dataset.state = state;
  find('state').textContent = state;
  find('reason').textContent = reason ? `${reason}.${state === 'reconnecting' ? ' Trying again; the scores are the last that came.' : ''}` : '';
  find('reason').hidden = !reason;
}

const sluice = new Sluice('/', { transports: ['sse', 'poll'] });
sluice.addEventListener('open', () => showState('live'));
sluice.addEventListener('lost', ({ fault }) => showState('reconnecting', explainFault(fault)));
// A reset is nothing to tell: each message is a whole score, and what was missed is told by the next one.
sluice.subscribe('scores', { since: HISTORY, onmessage: show, onrefused: (fault) => showState('refused', explainFault(fault)) });
