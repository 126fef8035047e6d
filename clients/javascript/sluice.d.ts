// SPDX-License-Identifier: MIT
// The types of Sluice's client library; what everything means is in docs/JAVASCRIPT.md.

export type Transport = 'websocket' | 'sse' | 'stream' | 'poll';

export interface Message<Data = unknown> {
  channel: string;
  id: string;
  /** In ms since 1970. */
  time: number;
  type: 'text' | 'json' | 'binary';
  /** A string, what JSON says, or a Uint8Array. */
  data: Data;
  event?: string;
  producer?: string;
  key?: string;
  /** The channel in whose log it stands, where that is one above. */
  tree?: string;
  stored?: false;
}

export interface Reset {
  channel: string;
  reason: 'epoch' | 'trimmed' | 'future' | 'purged' | 'failover' | 'unknown-id' | 'incomplete' | 'too-many-channels';
  missed?: number;
  withdrawn?: number;
  cursor: string;
}

export interface SubscribeOptions<Data = unknown> {
  /** A cursor, 'now' (the preset), 'earliest' or 'last=N'. */
  since?: string;
  policy?: 'all' | 'newest';
  /** The name under which one is present, and what is known of it besides. */
  as?: string;
  info?: unknown;
  onopen?(): void;
  onmessage?(message: Message<Data>): void;
  onreset?(reset: Reset): void;
  onrefused?(fault: SluiceError): void;
}

export interface Subscription<Data = unknown> extends AsyncIterable<Message<Data>> {
  readonly channel: string;
  readonly cursor: string;
  readonly isClosed: boolean;
  close(): void;
}

export interface PublishOptions {
  event?: string;
  /** The idempotency key; one is made when it is left out. */
  id?: string;
  ttl?: number;
  key?: string;
  store?: boolean;
  producer?: string;
  /** 'json' publishes a string as a JSON string. */
  type?: 'text' | 'json';
}

export interface Published {
  channel: string;
  id: string;
  time: number;
  type: 'text' | 'json' | 'binary';
  duplicate?: true;
}

/** `why` is the code of the error that the former token was refused by; undefined at first. */
export type Token = string | ((why?: string) => string | undefined | Promise<string | undefined>);

export interface SluiceOptions {
  token?: Token;
  /** Those to use, the best first. */
  transports?: Transport[];
  /** Whether the tabs of a site share one connection (they do). */
  share?: boolean;
  /** As for fetch: 'include' for cookies of another origin. */
  credentials?: RequestCredentials;
  /** The server's, in seconds (15). */
  heartbeat?: number;
}

export type State = 'idle' | 'connecting' | 'open' | 'lost' | 'closed';

export interface StateEvent extends Event {
  readonly state: State;
  readonly transport?: Transport;
  /** Where the server is: the address that was given, or the one that a server which stopped named. */
  readonly base?: string;
  /** Why it was lost, and after how many ms it is tried again. */
  readonly fault?: SluiceError;
  readonly delay?: number;
}

export interface RefusedEvent extends Event {
  readonly channel: string;
  readonly fault: SluiceError;
}

export class SluiceError extends Error {
  readonly code: string;
  /** 0 where there is none. */
  readonly status: number;
  /** In ms. */
  readonly retryAfter: number;
  readonly kind: 'token' | 'busy' | 'blocked' | 'final';
}

export interface Member {
  name: string;
  info?: unknown;
  since: number;
  node: string;
  transport: string;
}

export interface Room {
  members: Map<string, Member>;
  count: number;
  /** Subscriptions without a name. */
  anonymous: number;
  close(): void;
}

interface SluiceEvents {
  idle: StateEvent;
  connecting: StateEvent;
  open: StateEvent;
  lost: StateEvent;
  closed: StateEvent;
  state: StateEvent;
  refused: RefusedEvent;
}

export class Sluice extends EventTarget {
  constructor(url?: string | URL, options?: SluiceOptions);
  readonly state: State;
  readonly transport: Transport | undefined;
  subscribe<Data = unknown>(channel: string, options?: SubscribeOptions<Data>): Subscription<Data>;
  publish(channel: string, data: unknown, options?: PublishOptions): Promise<Published>;
  presence(channel: string, options?: { onchange?(room: Room): void }): Promise<Room>;
  close(): void;
  addEventListener<Name extends keyof SluiceEvents>(type: Name, listener: (event: SluiceEvents[Name]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}

export interface SluiceEventSourceOptions extends Omit<SluiceOptions, 'credentials'> {
  withCredentials?: boolean;
}

/** What takes an EventSource takes this. */
export type SluiceEventSource = EventSource;

export const SluiceEventSource: {
  new (url: string | URL, options?: SluiceEventSourceOptions): SluiceEventSource;
  readonly prototype: SluiceEventSource;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSED: 2;
};
