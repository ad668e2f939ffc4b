import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import {
  type AckMessage,
  type ErrorMessage,
  type NackMessage,
  type ServerMessage,
  type StoredMessage,
  type StreamReference,
  deviceFrameTypes,
} from '@fleetwire/contracts/device-protocol';
import type { PlainMessage } from '@fleetwire/contracts/plain-dialect';
import { type LiveOutput, textOf } from '@fleetwire/live/outlet';
import type { ValidationIssue } from '@fleetwire/contracts/validation-issue';
import type { IngestMetrics } from './metrics.ts';
import type { NackReason } from './nack-reasons.ts';

/** From the close frame to the end of the connection. */
const closeTimeoutMs = 1_500;

/** Everything that the server sends on one socket. The connection is terminated when the peer does not read and `outboundBytesMax` are queued for it. */
export class Outbound {
  readonly #socket: WebSocket;
  readonly #raw: Duplex;
  readonly #metrics: IngestMetrics;
  readonly #answerBytesMax: number;
  #outboundBytesMax: number;
  #closedWith: number | undefined;

  /** @param raw the stream that `socket` writes its frames to */
  constructor(socket: WebSocket, raw: Duplex, metrics: IngestMetrics, outboundBytesMax: number) {
    this.#socket = socket;
    this.#raw = raw;
    this.#metrics = metrics;
    this.#answerBytesMax = outboundBytesMax;
    this.#outboundBytesMax = outboundBytesMax;
  }

  /** The code with which the server closed the socket; undefined where the peer or the network did. */
  get closedWith(): number | undefined {
    return this.#closedWith;
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  send(message: ServerMessage | PlainMessage): void {
    if (!this.isOpen) return;
    this.#socket.send(JSON.stringify(message));
    this.#terminateSlowReader();
  }

  /**
   * Writes the ack past ws to the raw stream, which saves a write and the work of ws for each ack.
   *
   * Hazard: a nack must leave before the ack that covers it (see `StreamAcks.noteRejected`), a `dead` before the `stored`. It does because without `perMessageDeflate`
   * (off in `device-socket.ts`) `WebSocket.send` writes to the stream in the same tick. With compression ws would queue the nack for zlib,
   * and the ack would overtake it.
   */
  sendAck(ack: AckMessage | StoredMessage): void {
    const frame = ackFrame(ack);
    if (frame === undefined) return this.send(ack);
    if (!this.isOpen) return;
    this.#raw.write(frame);
    this.#terminateSlowReader();
  }

  /** Bytes that the peer has not read. */
  get queuedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** The socket watches: so much live data may be queued beside the answers. */
  allowLive(bytes: number): void {
    this.#outboundBytesMax = this.#answerBytesMax + 2 * bytes;
  }

  /** Live data, of which the watcher keeps the bound, and answers to its frames, which count like other answers. */
  writeLive(output: LiveOutput): void {
    if (!this.isOpen) return;
    this.#socket.send(textOf(output));
    if (output.type !== 'data_update') this.#terminateSlowReader();
  }

  close(code: number, reason: string): void {
    if (!this.isOpen) return;
    this.#closedWith = code;
    this.#metrics.closedSockets.inc({ reason: String(code) });
    // A paused socket would not read the peer's close frame.
    this.#socket.resume();
    this.#socket.close(code, reason);
    // A peer that does not answer the close frame keeps the socket no longer than this; ws would wait for 30 s.
    const cut = setTimeout(() => this.#socket.terminate(), closeTimeoutMs);
    this.#socket.once('close', () => clearTimeout(cut));
  }

  /** Ends the connection without a close frame. */
  terminate(reason: string): void {
    this.#metrics.closedSockets.inc({ reason });
    this.#socket.terminate();
  }

  #terminateSlowReader(): void {
    if (this.#socket.bufferedAmount > this.#outboundBytesMax) this.terminate('slow-reader');
  }
}

/** Sends the acks of many sessions together, once everything that was settled in this turn of the event loop is known. */
export class AckSchedule {
  #due = new Set<{ flushAcks(): void }>();

  add(session: { flushAcks(): void }): void {
    if (this.#due.size === 0) setImmediate(() => this.flush());
    this.#due.add(session);
  }

  flush(): void {
    const sessions = this.#due;
    this.#due = new Set();
    for (const session of sessions) session.flushAcks();
  }
}

/** For rejected readings: the same readings would be rejected again. */
export function finalNack(seq: number, count: number, issue: ValidationIssue, reference: StreamReference): NackMessage {
  const { code, message } = issue;
  return { type: 'nack', seq, count, code, message, retryable: false, ...reference, ...acceptedTypesFor(issue) };
}

export function retryableNack(
  { first, last }: { readonly first: number; readonly last: number },
  nackReason: NackReason,
  reference: StreamReference,
): NackMessage {
  return { type: 'nack', seq: first, count: last - first + 1, ...nackReason, retryable: true, ...reference };
}

/** For a reading without a seq, or a frame whose numbers could not be read. */
export function errorOf(issue: ValidationIssue, count = 1): ErrorMessage {
  const { code, message } = issue;
  return {
    type: 'error',
    ...(count === 1 ? {} : { count }),
    code,
    message,
    retryable: false,
    ...acceptedTypesFor(issue),
  };
}

function acceptedTypesFor({ code, field }: ValidationIssue): { acceptedTypes?: readonly string[] } {
  const isUnknown = code === 'unknown-type' || (code === 'missing-field' && field === 'type');
  return isUnknown ? { acceptedTypes: deviceFrameTypes } : {};
}

/** FIN and the opcode of text (RFC 6455, 5.2). */
const finalText = 0x81;
const headerBytes = 2;
/** The longest payload whose length fits into the second byte. */
const shortPayloadBytesMax = 125;

/**
 * An ack as a whole WebSocket frame, unmasked as a server sends it, in one buffer; ws would write header and payload apart.
 * @returns undefined for an ack that is longer than 125 bytes or not ASCII because of its stream's names
 */
export function ackFrame(ack: AckMessage | StoredMessage): Buffer | undefined {
  const text = JSON.stringify(ack);
  if (text.length > shortPayloadBytesMax || Buffer.byteLength(text) !== text.length) return undefined;
  const frame = Buffer.allocUnsafe(headerBytes + text.length);
  frame[0] = finalText;
  frame[1] = text.length;
  frame.write(text, headerBytes, 'latin1');
  return frame;
}
