import { backoffMs } from '@fleetwire/contracts/backoff';
import { signal } from '@preact/signals';
import { learnServerTime } from './clock.ts';
import type { LiveMessage, Subscription } from './live-messages.ts';
import { Recovery, type Verdict } from './recovery.ts';
import { loadSession, session } from './session.ts';

/** The one socket of this tab. */
export type LiveState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'connecting' }
  | { readonly kind: 'open'; readonly since: number; readonly lostForMs: number | undefined }
  | { readonly kind: 'lost'; readonly since: number; readonly retryAt: number };

export const liveState = signal<LiveState>({ kind: 'idle' });

/** After a break: for how long it was lost, and what became of what was missed; undefined before the first one. */
export const recovered = signal<
  { readonly lostAt: number; readonly backAt: number; readonly verdict: Verdict } | undefined
>(undefined);

/** What happens on the socket, in both directions: the console shows it. */
export type FrameListener = (direction: 'sent' | 'received', text: string, at: number) => void;

const backoff = { baseMs: 500, capMs: 15_000 };
const heartbeatDefaultMs = 15_000;
const subscribeAgainMs = 3_000;
const sessionEnded = 4401;

interface Watch {
  readonly subscription: Subscription;
  readonly onMessage: (message: LiveMessage) => void;
  cursor: string | undefined;
}

interface Hello {
  readonly type: 'hello';
  readonly serverTime: string;
  readonly limits: { readonly heartbeatIntervalMs: number };
}

const watches = new Map<string, Watch>();
const frameListeners = new Set<FrameListener>();
let socket: WebSocket | undefined;
/** After `hello`, until the socket is closed. */
let isReady = false;
let failures = 0;
let lostAt: number | undefined;
let retry: ReturnType<typeof setTimeout> | undefined;
let heartbeat: ReturnType<typeof setInterval> | undefined;
let numbers = 0;
let recovery: Recovery | undefined;

/**
 * Subscribes on the socket of the tab. After a break the subscription resumes at its newest cursor, so that nothing is missing; readings
 * from around the break can come again.
 * @returns ends the subscription
 */
export function watch(subscription: Subscription, onMessage: (message: LiveMessage) => void): () => void {
  numbers += 1;
  const id = `d${numbers}`;
  watches.set(id, { subscription, onMessage, cursor: undefined });
  if (isReady) subscribe(id);
  else openSocket();
  return () => {
    if (!watches.delete(id)) return;
    recovery?.end(id);
    tellRecovery();
    if (isReady) sendFrame({ type: 'unsubscribe', id });
  };
}

/** Connects, so that a subscription that follows need not wait for it. */
export function openSocket(): void {
  if (socket === undefined && retry === undefined) connect();
}

/** @returns stops listening */
export function onFrame(listener: FrameListener): () => void {
  frameListeners.add(listener);
  return () => frameListeners.delete(listener);
}

/** Sends a frame as it is. @returns false while the socket is not open */
export function sendFrame(frame: string | object): boolean {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  const text = typeof frame === 'string' ? frame : JSON.stringify(frame);
  socket.send(text);
  for (const listener of frameListeners) listener('sent', text, Date.now());
  return true;
}

/** Connects now instead of waiting for the next try. */
export function reconnectNow(): void {
  if (retry === undefined) return;
  clearTimeout(retry);
  retry = undefined;
  connect();
}

function connect(): void {
  if (session.peek().kind !== 'signed-in') return;
  if (liveState.peek().kind === 'idle') liveState.value = { kind: 'connecting' };
  const url = new URL('/ws', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  const own = new WebSocket(url, ['fleetwire.v1.json']);
  socket = own;
  let heardAt = Date.now();
  let heartbeatMs = heartbeatDefaultMs;

  own.addEventListener('message', ({ data }: MessageEvent<string>) => {
    heardAt = Date.now();
    for (const listener of frameListeners) listener('received', data, heardAt);
    const message = JSON.parse(data) as LiveMessage | Hello;
    if (message.type === 'hello') {
      heartbeatMs = message.limits.heartbeatIntervalMs;
      learnServerTime(Date.parse(message.serverTime));
      opened();
    } else receive(message);
  });
  own.addEventListener('close', ({ code }) => {
    if (socket !== own) return;
    clearInterval(heartbeat);
    socket = undefined;
    isReady = false;
    if (code === sessionEnded) void loadSession();
    closed();
  });
  clearInterval(heartbeat);
  heartbeat = setInterval(() => {
    if (own.readyState !== WebSocket.OPEN) return;
    if (Date.now() - heardAt > 2 * heartbeatMs + 5_000) own.close();
    else sendFrame({ type: 'ping' });
  }, heartbeatMs);
}

function opened(): void {
  const now = Date.now();
  failures = 0;
  isReady = true;
  liveState.value = { kind: 'open', since: now, lostForMs: lostAt === undefined ? undefined : now - lostAt };
  if (lostAt !== undefined) {
    const interrupted = [...watches].map(
      ([id, { subscription, cursor }]) => [id, { subscription, hasCursor: cursor !== undefined }] as const,
    );
    // A break before everything has come belongs to the one before it.
    recovery = new Recovery(lostAt, now, new Map(interrupted), recovery);
    tellRecovery();
  }
  lostAt = undefined;
  for (const id of watches.keys()) subscribe(id);
}

function closed(): void {
  if (session.peek().kind !== 'signed-in') {
    liveState.value = { kind: 'idle' };
    return;
  }
  failures += 1;
  lostAt ??= Date.now();
  const wait = Math.max(250, backoffMs(backoff, failures));
  liveState.value = { kind: 'lost', since: lostAt, retryAt: Date.now() + wait };
  retry = setTimeout(() => {
    retry = undefined;
    connect();
  }, wait);
}

function tellRecovery(): void {
  if (recovery === undefined) return;
  const { lostAt: from, backAt, verdict } = recovery;
  const told = recovered.peek();
  if (told?.backAt !== backAt || told.verdict !== verdict) recovered.value = { lostAt: from, backAt, verdict };
  if (verdict !== 'reading') recovery = undefined;
}

function subscribe(id: string): void {
  const held = watches.get(id);
  if (held === undefined) return;
  const { since, ...filter } = held.subscription;
  const start = held.cursor === undefined ? { ...(since !== undefined && { since }) } : { cursor: held.cursor };
  sendFrame({ type: 'subscribe', id, ...filter, ...start });
}

function receive(message: LiveMessage): void {
  const held = message.id === undefined ? undefined : watches.get(message.id); // A pong has no id.
  if (held === undefined) return;
  // Messages without readings have one too: where nothing arrives, it says so.
  if ('cursor' in message && message.cursor !== undefined) held.cursor = message.cursor;
  recovery?.hear(message);
  tellRecovery();
  if (message.type === 'error' && (message.code === 'cursor-invalid' || message.code === 'cursor-foreign')) {
    held.cursor = undefined;
    recovery?.loseCursor(held.subscription);
    subscribe(message.id!);
    return;
  }
  if (message.type === 'error' && message.retryable === true)
    setTimeout(() => subscribe(message.id!), subscribeAgainMs);
  held.onMessage(message);
}

session.subscribe(({ kind }) => {
  if (kind !== 'signed-in') {
    clearTimeout(retry);
    retry = undefined;
    const open = socket;
    socket = undefined;
    isReady = false;
    open?.close();
    liveState.value = { kind: 'idle' };
  } else if (socket === undefined && retry === undefined && watches.size > 0) connect();
});
