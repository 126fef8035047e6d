// A channel of Sluice as Server-Sent Events, on top of EventSource.

/** The URL of a channel's feed or publishing. */
export function channelUrl(channel, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  return `/channels/${channel.split('/').map(encodeURIComponent).join('/')}${query ? `?${query}` : ''}`;
}

/**
 * Follows a channel until stop() of what is returned is called; listen(name) adds an event name. Of `handlers`, onMessage gets {id, event, data}, onReset what the
 * server says of a gap ({channel, reason, missed, cursor}), onState 'connecting', 'live' or 'reconnecting'. EventSource tells
 * named events only to who asks for their name: `events` lists them.
 */
export function subscribe(channel, handlers, events = []) {
  const names = new Set(events);
  let source;
  let cursor = '';
  let timer;
  let isOver = false;

  const take = (event) => {
    cursor = event.lastEventId || cursor;
    handlers.onMessage({ id: event.lastEventId, event: event.type === 'message' ? '' : event.type, data: event.data });
  };

  const open = () => {
    source = new EventSource(channelUrl(channel, { transport: 'sse', ...(cursor && { since: cursor }) }));
    source.onopen = () => handlers.onState('live');
    source.onerror = () => {
      handlers.onState('reconnecting');
      // The browser reconnects by itself, with its Last-Event-ID, unless the answer was no stream.
      if (source.readyState === EventSource.CLOSED && !isOver) timer = setTimeout(open, 2000 + Math.random() * 2000);
    };
    source.onmessage = take;
    for (const name of names) source.addEventListener(name, take);
    source.addEventListener('reset', (event) => {
      cursor = event.lastEventId || cursor;
      handlers.onReset(JSON.parse(event.data));
    });
  };

  handlers.onState('connecting');
  open();
  return {
    listen(name) {
      if (names.has(name)) return;
      names.add(name);
      source.addEventListener(name, take);
    },
    stop() {
      isOver = true;
      clearTimeout(timer);
      source.close();
    },
  };
}

/** Publishes one message; resolves to the server's {channel, id, time} and throws its message when it refuses. */
export async function publish(channel, data, type = 'text/plain', event = '') {
  const response = await fetch(channelUrl(channel, event ? { event } : {}), {
    method: 'POST', body: data, headers: { 'Content-Type': type },
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  return answer;
}
