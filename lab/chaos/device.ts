import { type RecordableHistogram, createHistogram } from 'node:perf_hooks';
import { WebSocket } from 'ws';
import type { Random } from '../fleet/random.ts';
import type { ControlFrame } from './command-journal.ts';
import { DeviceCommands, type NewestCommand } from './device-commands.ts';
import { DeviceJournal, type JournalEntry, type Kind } from './device-journal.ts';

export interface DeviceOptions {
  readonly url: string;
  readonly deviceId: string;
  readonly epoch: string;
  readonly token: string;
  readonly readingsPerFrame: number;
  /** For the jitter of reconnect delays, and how long it takes for a command. */
  readonly random: Random;
  readonly newestCommand: NewestCommand;
  readonly statistics: DeviceStatistics;
}

/** Totals of all devices that share it. */
export interface DeviceStatistics {
  connected: number;
  connects: number;
  frames: number;
  resent: number;
  /** Readings in nacks, by code. */
  readonly nacks: Map<string, number>;
  /** `error` messages, by code. */
  readonly errors: Map<string, number>;
  readonly disconnects: Map<string, number>;
  /** One time in each interval of `ackTickMs` with an ack, in order: milliseconds of `performance.now()`. */
  readonly ackedAt: number[];
  /** From the last sending to the ack of each reading, in microseconds. */
  readonly ackMicros: RecordableHistogram;
}

export function newDeviceStatistics(): DeviceStatistics {
  return {
    connected: 0,
    connects: 0,
    frames: 0,
    resent: 0,
    nacks: new Map(),
    errors: new Map(),
    disconnects: new Map(),
    ackedAt: [],
    ackMicros: createHistogram(),
  };
}

interface Hello {
  readonly deviceId: string;
  readonly epoch: string;
  readonly limits: { readonly inFlightMax: number; readonly heartbeatIntervalMs: number };
  readonly lastSeq?: number;
}

/** The messages of docs/device-protocol.md. */
type Message =
  | ({ readonly type: 'hello' } & Hello)
  | { readonly type: 'ack'; readonly upTo: number }
  | {
      readonly type: 'nack';
      readonly seq: number;
      readonly count: number;
      readonly code: string;
      readonly retryable: boolean;
      readonly retryAfterMs?: number;
    }
  | ({ readonly type: 'control' } & ControlFrame)
  // With an id it is about the answer to a command.
  | {
      readonly type: 'error';
      readonly id?: string;
      readonly code: string;
      readonly retryable?: boolean;
      readonly retryAfterMs?: number;
    }
  | { readonly type: 'pong' };

const answerTimeoutMs = 5_000;
const reconnectBaseMs = 200;
const reconnectCapMs = 2_000;
const silentIntervalsMax = 2.5;
const closeTimeoutMs = 2_000;
const ackTickMs = 50;
/** After these the device would be refused again: HTTP statuses of the upgrade, and close codes. */
const finalRefusals = new Set([400, 401, 403, 404, 1002, 1003, 1007, 1008, 1009, 4400, 4401, 4403, 4409]);

/**
 * A device that speaks the protocol as docs/device-protocol.md describes it, with a plain WebSocket and code of its own: no library of the
 * product and no part of the simulated fleet. It keeps each reading until it is settled, and sends everything unsettled again after a reconnect.
 */
export class ChaosDevice {
  readonly journal: DeviceJournal;
  readonly commands: DeviceCommands;
  readonly #options: DeviceOptions;
  /** Numbers that need no sending on the present connection, with the time they were sent. */
  readonly #inFlight = new Map<number, number>();
  #socket: WebSocket | undefined;
  #hello: Hello | undefined;
  #attempts = 0;
  #heldUntil = 0;
  #heardAt = 0;
  #isStopping = false;
  #timers: NodeJS.Timeout[] = [];
  #pumpTimer: NodeJS.Timeout | undefined;
  #failure: string | undefined;

  constructor(options: DeviceOptions) {
    this.#options = options;
    const { deviceId, epoch, random, newestCommand: newest } = options;
    this.journal = new DeviceJournal(deviceId, epoch);
    this.commands = new DeviceCommands({
      deviceId,
      random,
      newest,
      send: (frame) => this.sendRaw(frame),
      disconnect: () => this.#socket?.terminate(),
    });
    this.#connect();
  }

  /** Why the server refuses this device for good, once it has. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Connected, and not asked to wait before it sends again. */
  get isFree(): boolean {
    return this.#hello !== undefined && this.#heldUntil <= performance.now();
  }

  /** Enters readings in the journal and sends them as soon as the protocol allows. */
  send(readings: readonly { readonly text: string; readonly kind: Kind }[]): readonly JournalEntry[] {
    const entries = readings.map(({ text, kind }) => this.journal.enter(text, kind));
    this.#pump();
    return entries;
  }

  /**
   * Sends the same frame again if all of it was sent before, and no lower number still has to be sent on this connection: the ack of the
   * repeated frame would seem to cover that one.
   * @returns whether it did
   */
  repeat(entries: readonly JournalEntry[]): boolean {
    const [first] = entries;
    if (first === undefined || entries.some(({ fate }) => fate === 'unsent')) return false;
    for (const { seq } of this.journal.unsettled) {
      if (seq >= first.seq) break;
      if (!this.#inFlight.has(seq)) return false;
    }
    return this.sendRaw(frameOf(entries));
  }

  /** Sends any text or bytes, if connected. */
  sendRaw(data: string | Buffer): boolean {
    if (this.#hello === undefined || this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(data);
    return true;
  }

  /** Closes the connection and makes no other. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.commands.stop();
    this.#clearTimers();
    const socket = this.#socket;
    if (socket === undefined) return;
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    const deadline = setTimeout(() => socket.terminate(), closeTimeoutMs);
    socket.close(1000);
    await closed;
    clearTimeout(deadline);
  }

  #connect(): void {
    const { url, token, statistics } = this.#options;
    const target = new URL(url);
    target.searchParams.set('epoch', this.journal.epoch);
    const socket = new WebSocket(target, 'fleetwire.v1.json', {
      headers: { authorization: `Bearer ${token}` },
      handshakeTimeout: answerTimeoutMs,
    });
    this.#socket = socket;
    let why: string | undefined;
    socket.on('open', () => this.#after(answerTimeoutMs, () => this.#hello ?? socket.terminate()));
    socket.on('message', (data: Buffer) => {
      this.#heardAt = performance.now();
      this.#receive(JSON.parse(data.toString('utf8')) as Message);
    });
    socket.on('ping', () => (this.#heardAt = performance.now()));
    socket.on('unexpected-response', (_request, { statusCode = 0 }) => {
      why = String(statusCode);
      this.#refusedWith(statusCode, 'HTTP status');
      socket.terminate();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => (why ??= error.code ?? error.message));
    socket.on('close', (code, reason) => {
      if (this.#hello !== undefined) statistics.connected -= 1;
      this.#hello = undefined;
      this.#socket = undefined;
      this.#inFlight.clear();
      this.#clearTimers();
      if (this.#isStopping) return;
      increment(statistics.disconnects, why ?? String(code));
      this.#refusedWith(code, reason.toString());
      if (this.#failure === undefined) this.#after(this.#reconnectDelayMs(), () => this.#connect());
    });
  }

  #refusedWith(code: number, reason: string): void {
    if (finalRefusals.has(code)) this.#failure ??= `${code} ${reason}`;
  }

  #reconnectDelayMs(): number {
    this.#attempts += 1;
    return this.#options.random() * Math.min(reconnectCapMs, reconnectBaseMs * 2 ** this.#attempts);
  }

  #receive(message: Message): void {
    const { statistics } = this.#options;
    switch (message.type) {
      case 'hello':
        return this.#welcome(message);
      case 'ack':
        this.#attempts = 0;
        if (this.#heardAt > (statistics.ackedAt.at(-1) ?? 0) + ackTickMs) statistics.ackedAt.push(this.#heardAt);
        this.#settle(message.upTo, (seq) => this.#inFlight.has(seq));
        return this.#pump();
      case 'nack': {
        const { seq, count, code, retryable, retryAfterMs = 0 } = message;
        increment(statistics.nacks, code, count);
        if (retryable) this.#hold(retryAfterMs);
        else this.journal.refused(seq, count);
        for (let each = seq; each < seq + count; each += 1) this.#inFlight.delete(each);
        return this.#pump();
      }
      case 'error':
        increment(statistics.errors, message.code);
        if (message.id === undefined) return this.#hold(message.retryAfterMs ?? 0);
        if (message.retryable === true) this.commands.refused(message.id, message.retryAfterMs ?? 0);
        return;
      case 'control':
        return this.commands.receive(message);
      case 'pong':
        return;
    }
  }

  #welcome(hello: Hello): void {
    const { statistics } = this.#options;
    const { deviceId, epoch } = this.journal;
    if (hello.deviceId !== deviceId || hello.epoch !== epoch)
      this.journal.contradictions.push(`welcomed as ${hello.deviceId} (epoch ${hello.epoch})`);
    statistics.connected += 1;
    statistics.connects += 1;
    this.#hello = hello;
    this.commands.connected();
    this.#heldUntil = 0;
    if (hello.lastSeq !== undefined) this.#settle(hello.lastSeq);
    const { heartbeatIntervalMs } = hello.limits;
    this.#timers.push(
      setInterval(() => {
        if (performance.now() - this.#heardAt > silentIntervalsMax * heartbeatIntervalMs) this.#socket?.terminate();
      }, heartbeatIntervalMs),
    );
    this.#pump();
  }

  #settle(upTo: number, isSentHere?: (seq: number) => boolean): void {
    const now = performance.now();
    let newestSentAt = 0;
    for (const { seq } of this.journal.acknowledged(upTo, isSentHere)) {
      const sentAt = this.#inFlight.get(seq);
      if (sentAt === undefined) continue;
      this.#inFlight.delete(seq);
      newestSentAt = Math.max(newestSentAt, sentAt);
      this.#options.statistics.ackMicros.record(Math.max(1, Math.round((now - sentAt) * 1_000)));
    }
    this.commands.acknowledged(newestSentAt);
  }

  #hold(forMs: number): void {
    this.#heldUntil = Math.max(this.#heldUntil, performance.now() + forMs);
  }

  /** Sends what is unsettled and not in flight, lowest numbers first, in frames of consecutive numbers. */
  #pump(): void {
    const { readingsPerFrame } = this.#options;
    if (this.#hello === undefined) return;
    const { inFlightMax } = this.#hello.limits;
    if (this.#inFlight.size >= inFlightMax || this.journal.unsettledCount === this.#inFlight.size) return;
    const waitMs = this.#heldUntil - performance.now();
    if (waitMs > 0) {
      this.#pumpTimer ??= setTimeout(() => {
        this.#pumpTimer = undefined;
        this.#pump();
      }, waitMs);
      return;
    }
    let frame: JournalEntry[] = [];
    for (const entry of this.journal.unsettled) {
      if (this.#inFlight.has(entry.seq)) continue;
      const isNext = frame.length === 0 || entry.seq === frame.at(-1)!.seq + 1;
      if (!isNext || frame.length === readingsPerFrame) {
        this.#sendFrame(frame);
        frame = [];
      }
      if (this.#inFlight.size + frame.length >= inFlightMax) break;
      frame.push(entry);
    }
    if (frame.length > 0) this.#sendFrame(frame);
  }

  #sendFrame(entries: readonly JournalEntry[]): void {
    const { statistics } = this.#options;
    const now = performance.now();
    for (const entry of entries) {
      if (entry.fate !== 'unsent') statistics.resent += 1;
      this.journal.attempted(entry);
      this.#inFlight.set(entry.seq, now);
    }
    statistics.frames += 1;
    this.#socket?.send(frameOf(entries));
  }

  #after(ms: number, action: () => void): void {
    this.#timers.push(setTimeout(action, ms));
  }

  #clearTimers(): void {
    for (const timer of this.#timers.splice(0)) clearTimeout(timer);
    clearTimeout(this.#pumpTimer);
    this.#pumpTimer = undefined;
  }
}

function frameOf(entries: readonly JournalEntry[]): string {
  return `{"type":"telemetry","seq":${entries[0]!.seq},"readings":[${entries.map(({ text }) => text).join(',')}]}`;
}

function increment(counts: Map<string, number>, key: string, by = 1): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
