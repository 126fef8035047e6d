// SPDX-License-Identifier: MIT
// What passes between this browser and the server: it listens in four ways at once, publishes in two, holds everything open in silence,
// and publishes once more. `sluice check-network` does the same from a terminal.

const MESSAGES = 10;
const LAST = MESSAGES;
/** A server says its cursor at once: what has not opened by then is held back on its way. */
const OPENING_MS = 3000;
const HELD_BACK_MS = 1000;
const EVERY_MS = 200;
/** For what was published to come. */
const PATIENCE_MS = 3000;
const POLL_WAIT_S = 25;

const base = new URL('.', location.href);
const page = Object.fromEntries(['state', 'ways', 'summary', 'form', 'hold', 'token', 'channel', 'report', 'copy']
  .map((id) => [id, document.getElementById(id)]));

const pause = (ms) => new Promise((resume) => { setTimeout(resume, ms); });
const middle = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

async function until(condition, ms) {
  for (const end = performance.now() + ms; !condition() && performance.now() < end;) await pause(20);
}

/** Sluice sends neither. */
const between = (response) => [response.headers.get('via'), response.headers.get('server')].filter(Boolean).join(', ');

async function explain(response) {
  const by = between(response);
  const { error } = await response.clone().json().catch(() => ({}));
  return `answered ${response.status}${error ? ` (${error})` : ''}${by && ` by ${by}`}`;
}

/** One way, and what was seen of it. */
class Way {
  constructor(name, run, open) {
    Object.assign(this, { name, run, received: new Map(), doubled: 0, fault: '', rest: '', begun: performance.now() });
    Promise.resolve().then(() => open(this)).then(() => this.end('it was ended'), (fault) => this.end(fault.message));
  }

  get isOpen() { return this.opened !== undefined && this.ended === undefined; }

  open() { this.opened ??= performance.now(); }

  end(fault) {
    if (this.ended === undefined) Object.assign(this, { ended: performance.now(), fault });
  }

  /** Looks for marks in what has come, which may be cut anywhere. */
  take(text) {
    this.rest += text;
    const marks = new RegExp(`${this.run.mark}(\\d+)\\.`, 'g');
    for (let found; (found = marks.exec(this.rest));) {
      const number = Number(found[1]);
      if (this.received.has(number)) this.doubled++;
      else this.received.set(number, performance.now());
      this.rest = this.rest.slice(marks.lastIndex);
      marks.lastIndex = 0;
    }
    this.rest = this.rest.slice(-64);
  }

  measure() {
    const sent = this.run.published.filter((publish) => publish?.isSent);
    const delays = sent.filter(({ number }) => this.received.has(number)).map(({ number, begun }) => this.received.get(number) - begun);
    return { sent: sent.length, received: delays.length, middle: middle(delays), worst: Math.max(...delays) };
  }

  get isHeldBack() {
    return this.opened - this.begun > OPENING_MS || this.measure().middle > HELD_BACK_MS;
  }

  finding() {
    const { sent, received } = this.measure();
    const seconds = ((this.ended ?? performance.now()) - this.begun) / 1000;
    if (this.opened === undefined && this.ended !== undefined) return `does not pass: ${this.fault}`;
    if (this.opened === undefined) return seconds * 1000 > OPENING_MS ? `held back: nothing came in ${seconds.toFixed(0)} s` : '…';
    if (this.ended !== undefined) return `cut after ${seconds.toFixed(1)} s: ${this.fault}`;
    if (this.isHeldBack) return 'held back: something collects what comes';
    if (!this.run.isOver) return '…';
    if (!this.received.has(LAST)) return 'went silent: it looks open, and the last message did not come';
    return received < sent || this.doubled ? `${sent - received} missing, ${this.doubled} twice` : 'passes';
  }

  row() {
    const { sent, received, middle: delay, worst } = this.measure();
    const isOpen = this.opened !== undefined;
    return [this.name, isOpen ? `${Math.round(this.opened - this.begun)} ms` : '-', isOpen ? `${received} of ${sent}` : '-',
      received ? `${Math.round(delay)} ms, ${Math.round(worst)} ms` : '-', this.finding()];
  }
}

function openWebSocket(way) {
  const { run } = way;
  const socket = new WebSocket(run.url('ws', {}).href.replace(/^http/, 'ws'));
  run.signal.addEventListener('abort', () => socket.close());
  return new Promise((resolve, reject) => {
    socket.onopen = () => socket.send(JSON.stringify({ op: 'subscribe', channel: run.channel, since: 'now' }));
    socket.onmessage = ({ data }) => {
      const { op, code, message } = JSON.parse(data);
      if (op === 'subscribed') {
        way.open();
        way.publish = (text) => socket.send(JSON.stringify({ op: 'publish', channel: run.channel, data: text }));
      } else if (op === 'error') reject(new Error(`${code}: ${message}`));
      else if (op === 'message') way.take(data);
    };
    socket.onclose = ({ code, reason }) => reject(new Error(reason || (code === 1006 ? 'no connection, or it was cut' : `closed with ${code}`)));
  });
}

/** What an EventSource does not tell: the status with which it was refused, unless that is another one now. */
async function refusal(run, url) {
  const response = await run.fetch(url, { headers: { Accept: 'text/event-stream' }, signal: run.signal });
  if (!response.ok) return explain(response);
  await response.body.cancel();
  return '';
}

function openEventSource(way) {
  const { run } = way;
  const url = run.url(`channels/${run.channel}`, { transport: 'sse', since: 'now' });
  const source = new EventSource(url);
  run.signal.addEventListener('abort', () => source.close());
  return new Promise((_, reject) => {
    source.addEventListener('subscribed', () => way.open());
    source.onmessage = ({ data }) => way.take(data);
    source.onerror = () => {
      const isRefused = source.readyState === EventSource.CLOSED && way.opened === undefined;
      source.close();
      const why = new Error('no stream, or it was cut');
      if (isRefused) refusal(run, url).then((status) => reject(status ? new Error(status) : why), () => reject(why));
      else reject(why);
    };
  });
}

async function openStream(way) {
  const { run } = way;
  const response = await run.fetch(run.url(`channels/${run.channel}`, { transport: 'stream', since: 'now' }),
    { signal: run.signal, cache: 'no-store', headers: { Accept: 'application/x-ndjson' } });
  if (response.status !== 200) throw new Error(await explain(response));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece; !(piece = await reader.read()).done;) {
    way.open();
    way.take(piece.value);
  }
}

async function poll(way) {
  const { run } = way;
  for (let since = 'now'; !run.signal.aborted;) {
    const response = await run.fetch(run.url(`channels/${run.channel}`, { transport: 'json', since, wait: since === 'now' ? 0 : POLL_WAIT_S }),
      { signal: run.signal, cache: 'no-store', headers: { Accept: 'application/json' } });
    const cursor = response.headers.get('etag')?.match(/"(.*)"/)?.[1];
    if (![200, 204].includes(response.status) || !cursor) throw new Error(await explain(response));
    way.open();
    way.take(await response.text());
    since = cursor;
  }
}

/** One check, from its first connection to its report. */
class Run {
  constructor({ channel, token, hold }) {
    const word = crypto.getRandomValues(new Uint32Array(2)).reduce((text, number) => text + number.toString(36), '');
    this.ending = new AbortController();
    this.signal = this.ending.signal;
    Object.assign(this, { token, hold, channel: channel || `check/${word}`, mark: `check-${word}-`, published: [], isOver: false, faults: new Set(), between: new Set() });
    this.ways = [new Way('websocket', this, openWebSocket), new Way('sse', this, openEventSource), new Way('stream', this, openStream),
      new Way('poll', this, poll)];
  }

  url(path, parameters) {
    const url = new URL(path, base);
    url.search = new URLSearchParams({ ...parameters, ...(this.token && { token: this.token }) });
    return url;
  }

  /** As fetch; notes who says that he stands between. */
  async fetch(url, options) {
    const response = await fetch(url, options);
    if (between(response)) this.between.add(between(response));
    return response;
  }

  async publish(number) {
    const text = `${this.mark}${number}.`;
    const [websocket] = this.ways;
    const publish = { number, begun: performance.now(), isByWebSocket: number % 2 === 1 && websocket.isOpen };
    this.published[number] = publish;
    if (publish.isByWebSocket) {
      publish.isSent = true;
      websocket.publish(text);
      return;
    }
    try {
      const response = await this.fetch(this.url(`channels/${this.channel}`, {}), { method: 'POST', body: text, headers: { 'Content-Type': 'text/plain' }, signal: this.signal });
      if (response.status !== 201) throw new Error(await explain(response));
      Object.assign(publish, { isSent: true, answered: performance.now() });
    } catch (fault) {
      this.faults.add(fault.message);
    }
  }

  get hasAll() {
    const numbers = this.published.filter((publish) => publish?.isSent).map(({ number }) => number);
    return this.ways.every((way) => way.ended !== undefined || numbers.every((number) => way.received.has(number)));
  }

  async go() {
    await until(() => this.ways.every((way) => way.opened !== undefined || way.ended !== undefined), OPENING_MS);
    const publishes = [];
    for (let number = 0; number < MESSAGES; number++) {
      publishes.push(this.publish(number));
      await pause(EVERY_MS);
    }
    await Promise.race([Promise.all(publishes), pause(PATIENCE_MS)]);
    await until(() => this.hasAll, PATIENCE_MS);
    await until(() => this.signal.aborted, this.hold * 1000);
    await Promise.race([this.publish(LAST), pause(PATIENCE_MS)]);
    await until(() => this.hasAll, PATIENCE_MS);
    this.isOver = true;
    this.rows = this.ways.map((way) => way.row());
    this.ending.abort();
  }

  publishing() {
    const posts = this.published.filter((publish) => publish && !publish.isByWebSocket);
    const times = posts.filter(({ answered }) => answered).map(({ begun, answered }) => answered - begun);
    const byWebSocket = this.published.filter((publish) => publish?.isByWebSocket).length;
    return [`publishing by POST: ${times.length} of ${posts.length}${times.length ? `, ${Math.round(middle(times))} ms` : ''}`
      + `${this.faults.size ? `; the others: ${[...this.faults].join('; ')}` : ''}`, `publishing by WebSocket: ${byWebSocket || 'not without one'}`];
  }

  report() {
    const [{ nextHopProtocol: protocol } = {}] = performance.getEntriesByType('navigation');
    const rows = [['way', 'opening', 'messages', 'middle, worst', ''], ...this.rows];
    return [`${base}, channel ${this.channel}`, `${new Date().toISOString()}, held for ${this.hold} s${protocol ? `, ${protocol}` : ''}`, navigator.userAgent, '',
      ...rows.map(([way, opening, messages, delay, finding]) => `${way.padEnd(11)}${opening.padEnd(11)}${messages.padEnd(10)}${delay.padEnd(18)}${finding}`.trimEnd()),
      ...this.publishing(), ...(this.between.size ? [`between, as it says: ${[...this.between].join('; ')}`] : [])].join('\n');
  }
}

function show(run) {
  const rows = (run.rows ?? run.ways.map((way) => way.row())).map((cells) => {
    const row = document.createElement('tr');
    const finding = cells.at(-1);
    row.append(...cells.map((text, index) => {
      const cell = document.createElement(index ? 'td' : 'th');
      if (!index) cell.scope = 'row';
      cell.textContent = text;
      return cell;
    }));
    row.lastChild.dataset.finding = finding === 'passes' ? 'passes' : finding === '…' ? 'waits' : 'fails';
    return row;
  });
  page.ways.replaceChildren(...rows);
}

function summarize(run) {
  const passing = run.rows.filter((row) => row.at(-1) === 'passes').map(([way]) => way);
  const said = [...run.rows.map((row) => row.at(-1)), ...run.faults].join(' ');
  if (/\b(no-token|bad-token|token-[a-z]+)\b/.test(said) || (run.token && said.includes('forbidden-channel'))) {
    return 'The server wants a token that may subscribe to the channel and publish to it: ask for one, and check again with it.';
  }
  if (!run.published.some((publish) => publish?.isSent)) return 'Nothing could be published: the report says why.';
  if (passing.length === run.rows.length) return 'Everything passes.';
  if (passing.length) return `${passing.join(', ')} ${passing.length === 1 ? 'passes' : 'pass'}: the client library goes by ${passing[0]}. The others do not.`;
  return 'Nothing passes as it should: the report says what happens to each way.';
}

let current;

async function check() {
  current?.ending.abort();
  const run = new Run({ channel: page.channel.value.trim(), token: page.token.value.trim(), hold: Number(page.hold.value) });
  current = run;
  Object.assign(page.state, { textContent: 'running' }).dataset.state = 'connecting';
  page.summary.textContent = `Ten messages, then ${run.hold} seconds of silence, then one more.`;
  page.report.textContent = '';
  page.copy.hidden = true;
  const timer = setInterval(() => show(run), 250);
  await run.go();
  clearInterval(timer);
  if (run !== current) return;
  show(run);
  const isGood = run.rows.every((row) => row.at(-1) === 'passes');
  Object.assign(page.state, { textContent: 'done' }).dataset.state = isGood ? 'live' : 'refused';
  page.summary.textContent = summarize(run);
  page.report.textContent = run.report();
  page.copy.hidden = false;
}

page.form.addEventListener('submit', (event) => {
  event.preventDefault();
  check();
});
page.copy.addEventListener('click', async () => {
  getSelection().selectAllChildren(page.report);
  const isCopied = await navigator.clipboard?.writeText(page.report.textContent).then(() => true, () => false);
  page.copy.textContent = isCopied ? 'Copied' : 'Selected: press Ctrl C';
});

const wishes = new URLSearchParams([...new URLSearchParams(location.search), ...new URLSearchParams(location.hash.slice(1))]);
page.token.value = wishes.get('token') ?? '';
page.channel.value = wishes.get('channel') ?? '';
// A token is not for the history, nor for who looks on.
if (location.hash) history.replaceState(null, '', location.pathname + location.search);
const wished = wishes.get('hold');
if (wished && ![...page.hold.options].some(({ value }) => value === wished) && Number(wished) >= 0) page.hold.add(new Option(`${Number(wished)} s`, String(Number(wished))));
if (wished) page.hold.value = String(Number(wished));
check();
