import type { IncomingMessage } from 'node:http';
import type { ControlMessage } from '@fleetwire/contracts/command-frames';
import {
  type HelloMessage,
  type NackMessage,
  type ServerMessage,
  closeCodes,
  subprotocol,
} from '@fleetwire/contracts/device-protocol';
import { WebSocket } from 'ws';
import { backoffMs } from '@fleetwire/contracts/backoff';
import { CommandAnswers } from './command-answers.ts';
import { frameOverheadBytesMax, telemetryFrame } from './frame.ts';
import { LinkRefusedError, type Uplink, type UplinkOptions, increment } from './uplink.ts';

/** Close codes after which a retry would fail in the same way: protocol errors, and refusals by the application. */
const finalCloseCodes: ReadonlySet<number> = new Set([
  1002,
  1003,
  1007,
  1008,
  closeCodes.tooBig,
  closeCodes.malformed,
  closeCodes.unauthorised,
  closeCodes.forbidden,
  closeCodes.replaced,
]);

const finalStatuses: ReadonlySet<number> = new Set([400, 401, 403, 404]);
const messageBytesMax = 1024 * 1024;
/** No further frames are made while the socket's buffer holds more bytes. */
const sendBufferBytesMax = 256 * 1024;
const closeTimeoutMs = 2_000;
/** The server pings once per interval; a socket that has received nothing for this many intervals is terminated. */
const silentIntervalsMax = 2.5;

/** Speaks the device protocol of `@fleetwire/contracts/device-protocol` for one stream. */
export class WebSocketUplink implements Uplink {
  readonly #options: UplinkOptions;
  readonly #commands = new CommandAnswers();
  #socket: WebSocket | undefined;
  #limits: HelloMessage['limits'] | undefined;
  #failures = 0;
  #retryAfterMs = 0;
  #heldUntil = 0;
  #holdTimer: NodeJS.Timeout | undefined;
  #reconnectTimer: NodeJS.Timeout | undefined;
  #helloTimer: NodeJS.Timeout | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #heardAt = 0;
  #isClosed = false;

  constructor(options: UplinkOptions) {
    this.#options = options;
    this.#connect();
  }

  pump(): void {
    const { stream, readingsPerFrameMax, isGateway } = this.#options;
    const socket = this.#socket;
    if (socket === undefined || this.#limits === undefined || socket.readyState !== WebSocket.OPEN) return;
    const bounds = {
      readingsMax: Math.min(readingsPerFrameMax, this.#limits.readingsPerFrameMax),
      bytesMax: this.#limits.payloadBytesMax - frameOverheadBytesMax,
      inFlightMax: this.#limits.inFlightMax,
    };
    const address = isGateway ? stream.journal : undefined;
    for (;;) {
      const now = performance.now();
      if (now < this.#heldUntil) return this.#resumeAt(this.#heldUntil, now);
      if (socket.bufferedAmount > sendBufferBytesMax) return;
      const run = stream.take(bounds, now);
      if (run === undefined) return;
      const frame = telemetryFrame(run, address);
      if (socket.bufferedAmount + frame.length > sendBufferBytesMax) socket.send(frame, () => this.pump());
      else socket.send(frame);
    }
  }

  sendRaw(text: string | Buffer): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#limits === undefined) return false;
    this.#socket.send(text);
    return true;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#reconnectTimer);
    const socket = this.#socket;
    if (socket === undefined) return;
    await new Promise<void>((resolve) => {
      const deadline = setTimeout(() => socket.terminate(), closeTimeoutMs);
      socket.once('close', () => {
        clearTimeout(deadline);
        resolve();
      });
      socket.close(1000);
    });
  }

  #connect(): void {
    const { url, token, stream, answerTimeoutMs } = this.#options;
    const target = new URL(url);
    target.searchParams.set('epoch', stream.journal.epoch);
    const socket = new WebSocket(target, subprotocol, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
      maxPayload: messageBytesMax,
      handshakeTimeout: answerTimeoutMs,
    });
    this.#socket = socket;
    let why = '';
    socket.on('open', () => {
      this.#helloTimer = setTimeout(() => socket.terminate(), answerTimeoutMs);
    });
    socket.on('message', (data: Buffer, isBinary) => {
      if (!isBinary) this.#receive(data.toString('utf8'));
    });
    socket.on('ping', () => this.#heard());
    socket.on('pong', () => this.#heard());
    socket.on('unexpected-response', (_request, response) => {
      why = String(response.statusCode);
      this.#refuse(response);
      socket.terminate();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      why ||= error.code ?? error.message;
    });
    socket.on('close', (code, reason) => {
      this.#socket = undefined;
      this.#lost(code, why || String(code), reason.toString());
    });
  }

  /** The server answered the upgrade request with an HTTP status. */
  #refuse(response: IncomingMessage): void {
    const status = response.statusCode ?? 0;
    this.#retryAfterMs = Number(response.headers['retry-after'] ?? 0) * 1_000 || 0;
    if (finalStatuses.has(status)) this.#fail(new LinkRefusedError(`HTTP ${status}`, response.statusMessage ?? ''));
  }

  #receive(text: string): void {
    this.#heard();
    const message = JSON.parse(text) as ServerMessage;
    switch (message.type) {
      case 'hello':
        return this.#welcome(message);
      case 'ack':
        if (this.#isOurs(message)) this.#acknowledged(message.upTo);
        return;
      case 'nack':
        if (this.#isOurs(message)) this.#nacked(message);
        return;
      case 'control':
        if (this.#isOurs(message)) this.#carryOut(message);
        return;
      case 'error':
        increment(this.#options.statistics.errors, message.code);
        if (message.id === undefined && message.retryAfterMs !== undefined) this.#hold(message.retryAfterMs);
        return;
      default:
        // A newer server may send message types that this client does not know.
        return;
    }
  }

  #carryOut(control: ControlMessage): void {
    const { statistics } = this.#options;
    const { frames, isRepeated } = this.#commands.answer(control);
    if (isRepeated) statistics.repeatedCommands += 1;
    else statistics.commands += 1;
    for (const frame of frames) this.#socket?.send(frame);
  }

  #welcome(hello: HelloMessage): void {
    const { stream, statistics } = this.#options;
    const { deviceId, epoch } = stream.journal;
    clearTimeout(this.#helloTimer);
    this.#limits = hello.limits;
    this.#heldUntil = 0;
    statistics.connected += 1;
    statistics.connects += 1;
    this.#heartbeat = setInterval(
      () => this.#checkAlive(hello.limits.heartbeatIntervalMs),
      hello.limits.heartbeatIntervalMs,
    );
    if (hello.lastSeq !== undefined && hello.deviceId === deviceId && hello.epoch === epoch)
      stream.acknowledgeEarlier(hello.lastSeq);
    this.pump();
  }

  #acknowledged(upTo: number): void {
    this.#failures = 0;
    this.#options.stream.acknowledge(upTo, performance.now());
    this.pump();
  }

  #nacked({ seq, count, code, retryable, retryAfterMs }: NackMessage): void {
    const { stream } = this.#options;
    if (retryable) {
      stream.postpone(seq, count, code);
      this.#hold(retryAfterMs ?? 0);
    } else {
      stream.refuse(seq, count, code);
    }
    this.pump();
  }

  /** Holds the whole stream for the delay that the server requests: new readings would be refused as well. */
  #hold(forMs: number): void {
    this.#heldUntil = Math.max(this.#heldUntil, performance.now() + forMs);
  }

  #resumeAt(then: number, now: number): void {
    this.#holdTimer ??= setTimeout(() => {
      this.#holdTimer = undefined;
      this.pump();
    }, then - now);
  }

  #heard(): void {
    this.#heardAt = performance.now();
  }

  #checkAlive(intervalMs: number): void {
    if (performance.now() - this.#heardAt > silentIntervalsMax * intervalMs) this.#socket?.terminate();
    else this.#socket?.ping();
  }

  #lost(code: number, why: string, reason: string): void {
    const { stream, statistics, backoff, random } = this.#options;
    clearTimeout(this.#helloTimer);
    clearTimeout(this.#holdTimer);
    clearInterval(this.#heartbeat);
    this.#holdTimer = undefined;
    if (this.#limits !== undefined) statistics.connected -= 1;
    this.#limits = undefined;
    stream.disconnect();
    if (this.#isClosed) return;
    increment(statistics.disconnects, why);
    if (finalCloseCodes.has(code)) return this.#fail(new LinkRefusedError(String(code), reason));
    this.#failures += 1;
    const delayMs = this.#retryAfterMs + backoffMs(backoff, this.#failures, random());
    this.#retryAfterMs = 0;
    this.#reconnectTimer = setTimeout(() => this.#connect(), delayMs);
  }

  #fail(error: LinkRefusedError): void {
    this.#isClosed = true;
    this.#options.stream.fail(error);
  }

  #isOurs({ deviceId, epoch }: { readonly deviceId?: string; readonly epoch?: string }): boolean {
    const { journal } = this.#options.stream;
    return (deviceId ?? journal.deviceId) === journal.deviceId && (epoch ?? journal.epoch) === journal.epoch;
  }
}
