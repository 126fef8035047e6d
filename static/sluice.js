// SPDX-License-Identifier: MIT
// A channel of Sluice as Server-Sent Events, on top of EventSource.

const DELAY_MS = 1000;
const DELAY_MAX_MS = 15000;

/** The URL of a channel's feed or publishing. Throws where the browser would make another path of the name. */
export function channelUrl(channel, parameters = {}) {
  const segments = channel.split('/');
  if (segments.includes('.') || segments.includes('..')) {
    throw new RangeError('the name of a channel has no segment that is . or ..');
  }
  const query = new URLSearchParams(parameters).toString();
  return `/channels/${segments.map(encodeURIComponent).join('/')}${query && `?${query}`}`;
}

/** What the server says when it refuses; `isFinal` when asking again would not help. */
async function refusal(response) {
  const { message } = await response.json().catch(() => ({}));
  const fault = new Error(message ?? `the answer was ${response.status} ${response.statusText}`);
  fault.isFinal = response.status >= 400 && response.status < 500 && ![408, 429].includes(response.status);
  return fault;
}

/** The cursor of a channel's newest message; throws the reason when there is no answer. */
async function look(channel) {
  const url = channelUrl(channel, { transport: 'json', wait: 0, since: 'now' });
  const response = await fetch(url).catch(() => { throw new Error('the server does not answer'); });
  if (!response.ok) throw await refusal(response);
  return /"(.*)"/.exec(response.headers.get('ETag'))?.[1] ?? '';
}

function parseReset(data) {
  try {
    const reset = JSON.parse(data);
    return typeof reset.reason === 'string' && typeof reset.cursor === 'string' ? reset : null;
  } catch {
    return null;
  }
}

/**
 * Follows a channel from now on. Of `handlers`, onMessage gets {id, event, data}, onReset what the server says of
 * a gap ({channel, reason, missed, cursor}), onState 'connecting', 'live', 'reconnecting' or 'refused' (which is
 * the end) and a reason or ''. EventSource gives named events only to who asks for their name: `events` lists
 * them, listen(events) of what is returned replaces the list, stop() ends the feed.
 */
export function subscribe(channel, handlers, events = []) {
  let names = new Set();
  let source;
  let cursor = '';
  let delay = DELAY_MS;
  let timer;
  let isOver = false;

  const take = (event) => {
    // EventSource's own `open` and `error` come to the listeners of messages of that name, too.
    if (!(event instanceof MessageEvent)) return;
    cursor = event.lastEventId || cursor;
    handlers.onMessage({ id: event.lastEventId, event: event.type === 'message' ? '' : event.type, data: event.data });
  };

  const takeReset = (event) => {
    const reset = parseReset(event.data);
    if (!reset) return take(event);
    cursor = event.lastEventId || cursor;
    handlers.onReset(reset);
  };

  const listen = (wanted) => {
    for (const name of names) source.removeEventListener(name, take);
    names = new Set(wanted);
    names.delete('message');
    names.delete('reset');
    for (const name of names) source.addEventListener(name, take);
  };

  const comeBack = async () => {
    source.close();
    const fault = await look(channel).then(() => null, (error) => error);
    if (isOver) return;
    handlers.onState(fault?.isFinal ? 'refused' : 'reconnecting', fault?.message ?? '');
    if (fault?.isFinal) return;
    timer = setTimeout(open, delay * (1 + Math.random()));
    delay = Math.min(2 * delay, DELAY_MAX_MS);
  };

  const open = () => {
    const since = cursor;
    source = new EventSource(channelUrl(channel, { transport: 'sse', ...(since && { since }) }));
    source.addEventListener('open', (event) => {
      if (event instanceof MessageEvent) return;
      delay = DELAY_MS;
      handlers.onState('live', '');
    });
    source.addEventListener('error', (event) => {
      if (event instanceof MessageEvent) return;
      handlers.onState('reconnecting', '');
      // The browser comes back by itself with its Last-Event-ID, unless the answer was no stream. Where the URL
      // has a cursor, that one would count before the Last-Event-ID, and bring again what came since.
      if (since || source.readyState === EventSource.CLOSED) comeBack();
    });
    source.addEventListener('message', take);
    source.addEventListener('reset', takeReset);
    listen(names);
  };

  handlers.onState('connecting', '');
  try {
    open();
  } catch (fault) {
    handlers.onState('refused', fault.message);
    return { listen() {}, stop() {} };
  }
  listen(events);
  // A page cannot see the cursor that a stream begins with, and would miss what comes between a refused reconnect
  // and the next one if no message had come before.
  look(channel).then((found) => { cursor ||= found; }, () => {});
  return {
    listen,
    stop() {
      isOver = true;
      clearTimeout(timer);
      source.close();
    },
  };
}

/** Publishes one message; resolves to the server's {channel, id, time} and throws its message when it refuses. */
export async function publish(channel, data, type = 'text/plain', event = '') {
  const url = channelUrl(channel, event ? { event } : {});
  const response = await fetch(url, { method: 'POST', body: data, headers: { 'Content-Type': type } })
    .catch(() => { throw new Error('the server does not answer'); });
  if (!response.ok) throw await refusal(response);
  return response.json();
}
