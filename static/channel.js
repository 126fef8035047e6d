// SPDX-License-Identifier: MIT
// A channel of Sluice in a page: a stream of JSON lines, or long-polls where a proxy keeps the stream back.

const DELAY_MS = 1000;
const DELAY_MAX_MS = 15000;
/** A stream says its cursor at once. Whoever hears nothing for this long is behind something that buffers. */
const SILENCE_MS = 3000;

const REASONS = {
  epoch: 'the channel was begun anew since you were last here.',
  trimmed: 'some messages are no longer kept.',
  future: 'your place was ahead of the channel.',
  purged: 'the channel’s messages were deleted.',
  failover: 'the broker lost messages.',
  'unknown-id': 'your place was not one of this server.',
  incomplete: 'channels that your place did not name begin now.',
  'too-many-channels': 'there are more channels than can be followed.',
};

/** What a reset means, for people. */
export function explainReset({ reason, missed, withdrawn }) {
  const count = missed === undefined ? '' : ` ${missed} missed.`;
  const gone = withdrawn === undefined ? '' : ` The last ${withdrawn} that were shown here ${withdrawn === 1 ? 'is' : 'are'} gone.`;
  return `${REASONS[reason] ?? ''}${count}${gone}`;
}

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
export async function refusal(response) {
  const { message } = await response.json().catch(() => ({}));
  const fault = new Error(message ?? `the answer was ${response.status} ${response.statusText}`);
  fault.isFinal = response.status >= 400 && response.status < 500 && ![408, 429].includes(response.status);
  return fault;
}

/** Resumes after that time, or as soon as the signal aborts. */
export function pause(ms, signal) {
  return new Promise((resume) => {
    const timer = setTimeout(resume, ms);
    signal.addEventListener('abort', () => { clearTimeout(timer); resume(); });
  });
}

/**
 * Follows a channel from now on. Of `handlers`, onMessage gets a message as the server says it ({id, event, type,
 * data, …}), onReset what it says of a gap ({channel, reason, missed or withdrawn, cursor}), onState 'connecting', 'live',
 * 'polling' (live, but by long-poll), 'reconnecting' or 'refused' (which is the end) and a reason or ''. stop() of
 * what is returned ends the feed.
 */
export function subscribe(channel, handlers) {
  const ending = new AbortController();
  let cursor = 'now';
  let state = '';
  let delay = DELAY_MS;
  let isSilent = false;

  const show = (next, reason = '') => {
    if (state !== next || reason) handlers.onState(next, reason);
    state = next;
  };

  const ask = async (parameters, signal) => {
    const response = await fetch(channelUrl(channel, { since: cursor, ...parameters }), { signal, cache: 'no-store' })
      .catch((fault) => { throw signal.aborted ? fault : new Error('the server does not answer'); });
    if (!response.ok) throw await refusal(response);
    return response;
  };

  const take = (line) => {
    if (ending.signal.aborted) return;
    cursor = line.cursor ?? cursor;
    if (line.reset) handlers.onReset(line.reset);
    else if (line.id) handlers.onMessage(line);
  };

  /** Reads lines until the stream ends; sets isSilent when none comes. */
  const stream = async () => {
    const silence = new AbortController();
    const timer = setTimeout(() => { isSilent = true; silence.abort(); }, SILENCE_MS);
    ending.signal.addEventListener('abort', () => silence.abort(), { signal: silence.signal });
    try {
      const response = await ask({ transport: 'stream' }, silence.signal);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const read = () => reader.read().catch(() => ({ done: true })); // cut, which is an end like any other
      let rest = '';
      for (let part = await read(); !part.done; part = await read()) {
        const lines = (rest + part.value).split('\n');
        rest = lines.pop();
        for (const line of lines.filter(Boolean)) {
          clearTimeout(timer);
          delay = DELAY_MS;
          show('live');
          take(JSON.parse(line));
        }
      }
    } catch (fault) {
      if (!isSilent) throw fault;
    } finally {
      clearTimeout(timer);
    }
  };

  const poll = async () => {
    const response = await ask({ transport: 'json', ...(cursor === 'now' && { wait: 0 }) }, ending.signal);
    delay = DELAY_MS;
    show('polling');
    if (response.status === 204) {
      cursor = /"(.*)"/.exec(response.headers.get('ETag'))?.[1] ?? cursor;
      return;
    }
    const batch = await response.json();
    for (const reset of batch.reset ?? []) take({ reset });
    batch.messages.forEach(take);
    cursor = batch.cursor;
  };

  const follow = async () => {
    show('connecting');
    while (!ending.signal.aborted) {
      let fault;
      try {
        await (isSilent ? poll() : stream());
        if (isSilent) continue;
      } catch (caught) {
        fault = caught;
        isSilent = false;
      }
      if (ending.signal.aborted) return;
      if (fault?.isFinal || fault instanceof RangeError) {
        show('refused', fault.message);
        return;
      }
      show('reconnecting', fault?.message ?? '');
      await pause(delay * (1 + Math.random()), ending.signal);
      delay = Math.min(2 * delay, DELAY_MAX_MS);
    }
  };

  follow();
  return { stop() { ending.abort(); } };
}

/** Publishes one message; resolves to the server's {channel, id, time} and throws its message when it refuses. */
export async function publish(channel, data, type = 'text/plain', event = '') {
  const url = channelUrl(channel, event ? { event } : {});
  const response = await fetch(url, { method: 'POST', body: data, headers: { 'Content-Type': type } })
    .catch(() => { throw new Error('the server does not answer'); });
  if (!response.ok) throw await refusal(response);
  return response.json();
}
