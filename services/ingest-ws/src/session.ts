import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { type Claims, mayPublishAs } from '@fleetwire/contracts/access';
import {
  type DeviceFrame,
  type RejectedFrame,
  type StreamReference,
  closeCodes,
  parseDeviceFrame,
  unreadableFrame,
} from '@fleetwire/contracts/device-protocol';
import { limits } from '@fleetwire/contracts/limits';
import { type ValidationIssue, refused } from '@fleetwire/contracts/validation-issue';
import type { Telemetry } from '@fleetwire/contracts/telemetry-input';
import { contextOf } from '@fleetwire/runtime/trace-context';
import type { Admission } from './admission.ts';
import type { Intake } from './intake.ts';
import type { IngestMetrics } from './metrics.ts';
import { type AckSchedule, Outbound, errorOf, finalNack, retryableNack } from './outbound.ts';
import type { ReadingOutcomes } from './reading-outcomes.ts';
import { type NackReason, bytesInFlightLimit, inFlightLimit, streamLimit } from './refusal.ts';
import { SessionStreams, type Stream } from './session-streams.ts';
import type { AckRange } from './stream-acks.ts';
import type { StreamHistory } from './stream-history.ts';
import type { Source } from './tracing.ts';

interface SessionLimits {
  readonly payloadBytesMax: number;
  readonly inFlightMax: number;
  readonly socketBytesInFlightMax: number;
  readonly outboundBytesMax: number;
  readonly heartbeatIntervalMs: number;
  readonly malformedFramesInARowMax: number;
  readonly unproductiveFramesPerSecondMax: number;
}

/** What all sessions share. */
export interface SessionContext {
  readonly admission: Admission;
  readonly outcomes: ReadingOutcomes;
  readonly intake: Intake;
  readonly history: StreamHistory;
  readonly ackSchedule: AckSchedule;
  readonly metrics: IngestMetrics;
  readonly limits: SessionLimits;
}

export interface SessionIdentity {
  readonly id: string;
  readonly claims: Claims;
  readonly epoch: string;
}

type TelemetryFrame = Extract<DeviceFrame, { type: 'telemetry' }>;

/** Frames that a device sent before it could read the close frame are dropped; beyond this the socket is not read any more. */
const bytesAfterCloseMax = 1024 * 1024;

/** Streams of one gateway's socket that may have readings in flight or pending resends; a device has one or two. */
const openStreamsMax = 10_000;

/** One socket of a device or gateway: takes its frames, keeps its flow control, and answers through {@link Outbound}. */
export class Session {
  readonly id: string;
  readonly claims: Claims;
  readonly epoch: string;
  readonly #socket: WebSocket;
  readonly #outbound: Outbound;
  readonly #context: SessionContext;
  readonly #source: Source;
  readonly #streams: SessionStreams;
  #inFlight = 0;
  #bytesInFlight = 0;
  #bytesAfterClose = 0;
  #isAlive = true;
  #malformedInARow = 0;
  #unproductiveSecond = 0;
  #unproductiveFrames = 0;
  /** Frames that may have held numbered readings which no nack could name. */
  #unreadableFrames = 0;

  /** @param raw the stream that `socket` writes its frames to */
  constructor(socket: WebSocket, raw: Duplex, { id, claims, epoch }: SessionIdentity, context: SessionContext) {
    this.id = id;
    this.claims = claims;
    this.epoch = epoch;
    this.#socket = socket;
    this.#outbound = new Outbound(socket, raw, context.metrics, context.limits.outboundBytesMax);
    this.#context = context;
    this.#source = { sessionId: id };
    this.#streams = new SessionStreams({
      own: { deviceId: claims.sub, epoch },
      streamsMax: openStreamsMax,
      history: context.history,
    });
    socket.on('message', (data: Buffer, isBinary) => this.#receive(data, isBinary));
    socket.on('pong', () => {
      this.#isAlive = true;
    });
    // 'close' follows with the code; ws has answered with 1007 or 1009 itself.
    socket.on('error', (error) =>
      context.metrics.closedSockets.inc({ reason: 'code' in error ? String(error.code) : 'socket-error' }),
    );
    this.#sendHello();
  }

  #sendHello(): void {
    const lastSeq = this.#context.history.lastSeqOf(this.claims.sub, this.epoch);
    const { payloadBytesMax, inFlightMax, heartbeatIntervalMs } = this.#context.limits;
    const { readingsPerFrameMax, metricsPerReadingMax } = limits;
    this.#outbound.send({
      type: 'hello',
      sessionId: this.id,
      deviceId: this.claims.sub,
      epoch: this.epoch,
      serverTime: new Date().toISOString(),
      limits: { payloadBytesMax, readingsPerFrameMax, metricsPerReadingMax, inFlightMax, heartbeatIntervalMs },
      ...(lastSeq === undefined ? {} : { lastSeq }),
    });
  }

  pause(): void {
    // A closing socket reads on, for the peer's close frame.
    if (this.#outbound.isOpen) this.#socket.pause();
  }

  resume(): void {
    // Nothing was read while paused, no pong either.
    if (!this.#outbound.isOpen) return;
    this.#isAlive = true;
    this.#socket.resume();
  }

  /** Called once per interval: closes the socket when the token has expired or the peer was silent since the last call; pings. */
  heartbeat(now: number): void {
    if (!this.#outbound.isOpen) return;
    if (this.claims.exp !== undefined && now >= this.claims.exp * 1_000)
      return this.close(closeCodes.unauthorised, 'the token has expired');
    // A paused socket reads nothing, so a missing pong does not mean that the peer is gone. The ping still shows the device that the server is there.
    if (!this.#socket.isPaused && !this.#isAlive) return this.#outbound.terminate('heartbeat-missed');
    this.#isAlive = false;
    this.#socket.ping();
  }

  close(code: number, reason: string): void {
    this.#outbound.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /** Resolves when the socket is closed. */
  whenClosed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.readyState === this.#socket.CLOSED) resolve();
      else this.#socket.once('close', () => resolve());
    });
  }

  /** Records how far the streams were settled, for later sessions. */
  saveStreamHistory(): void {
    this.#streams.remember();
  }

  flushAcks(): void {
    for (const ack of this.#streams.nextAcks()) this.#outbound.sendAck({ type: 'ack', ...ack });
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (!this.#outbound.isOpen) return this.#drop(data);
    this.#isAlive = true;
    const now = Date.now();
    if (isBinary) {
      const { issue } = refused('binary-frame', '', 'send JSON as a text frame');
      return this.#rejectFrame(unreadableFrame(issue), now);
    }
    const frame = parseDeviceFrame(data.toString('utf8'), now);
    if (!frame.ok) return this.#rejectFrame(frame, now);
    this.#malformedInARow = 0;
    switch (frame.value.type) {
      case 'ping':
        this.#countUnproductive(now);
        return this.#outbound.send({ type: 'pong', ts: now });
      case 'telemetry':
        return this.#handleTelemetry(frame.value, data.length, now);
    }
  }

  #drop(data: Buffer): void {
    this.#bytesAfterClose += data.length;
    if (this.#bytesAfterClose > bytesAfterCloseMax) this.#socket.pause();
  }

  #handleTelemetry({ telemetry, traceparent }: TelemetryFrame, bytes: number, now: number): void {
    const {
      admission,
      outcomes,
      intake,
      limits: { inFlightMax, socketBytesInFlightMax },
      ackSchedule,
      metrics,
    } = this.#context;
    const admitted = admission.admit(telemetry, { claims: this.claims, epoch: this.epoch }, now);
    if (!admitted.ok) return this.#answerRejected(telemetry, admitted.issue, now);
    const { run, first, last } = admitted;
    const stream = this.#streams.find(run.deviceId, run.epoch);
    const traceContext = traceparent === undefined ? undefined : contextOf({ traceparent });
    const arrival = { runs: [run], bytes, source: this.#source, traceContext };
    if (stream === undefined) {
      const nackReason = streamLimit(openStreamsMax);
      return outcomes.receive(arrival, () => this.close(closeCodes.overloaded, nackReason.message)).nack(nackReason);
    }
    if (telemetry.seq !== undefined) this.#nackSkipped(stream, first, last, now);
    const range = stream.acks.begin(first, last);
    if (telemetry.issues.length > 0) this.#answerIssues(telemetry, { stream, range }, now);
    const count = run.readings.length;
    if (count === 0) {
      stream.acks.settle(range);
      return ackSchedule.add(this);
    }

    // With nothing in flight even a larger frame is accepted: nacked, it would come again for ever.
    const isBeyondReadings = this.#inFlight > 0 && this.#inFlight + telemetry.observations.length > inFlightMax;
    const isBeyondBytes = this.#inFlight > 0 && this.#bytesInFlight + bytes > socketBytesInFlightMax;
    this.#inFlight += count;
    this.#bytesInFlight += bytes;
    const submission = outcomes.receive(arrival, (nackReason) => {
      this.#inFlight -= count;
      this.#bytesInFlight -= bytes;
      if (nackReason !== undefined && telemetry.seq !== undefined) return this.#nack(stream, range, nackReason);
      // Numbers of the server are not sent again: the device sends nacked readings under new ones, so the old ones must not hold back acks.
      if (nackReason !== undefined) this.#sendNacks(stream, range, nackReason);
      stream.acks.settle(range);
      ackSchedule.add(this);
    });
    if (!isBeyondReadings && !isBeyondBytes) return intake.submit(submission);
    metrics.limitsReached.inc({ limit: isBeyondReadings ? 'inFlightMax' : 'socketBytesInFlightMax' });
    submission.nack(isBeyondReadings ? inFlightLimit(inFlightMax) : bytesInFlightLimit(socketBytesInFlightMax));
  }

  #nack(stream: Stream, range: AckRange, nackReason: NackReason): void {
    stream.acks.awaitResend(range);
    // Each range has at least one reading.
    if (stream.acks.pendingResendRanges > this.#context.limits.inFlightMax)
      return this.close(closeCodes.overloaded, 'too many nacked readings were not sent again');
    this.#sendNacks(stream, range, nackReason);
  }

  #sendNacks(stream: Stream, range: AckRange, nackReason: NackReason): void {
    for (const part of partsBetween(range)) this.#outbound.send(retryableNack(part, nackReason, stream.reference));
  }

  /** Answers a frame whose readings are all rejected: together for one issue, or each for its own. */
  #answerRejected(telemetry: Telemetry, issue: ValidationIssue | undefined, now: number): void {
    if (issue === undefined) return this.#answerIssues(telemetry, undefined, now);
    const { deviceId, epoch, seq, observations } = telemetry;
    this.#sendIssue(issue, { seq, count: observations.length, deviceId: deviceId ?? this.claims.sub, epoch });
    this.#countUnproductive(now);
  }

  /** Answers single readings that are rejected; the others of the frame are in flight. */
  #answerIssues(
    telemetry: Telemetry,
    numbered: { readonly stream: Stream; readonly range: AckRange } | undefined,
    now: number,
  ): void {
    for (const { index, issue } of telemetry.issues) {
      if (numbered === undefined || telemetry.seq === undefined) {
        this.#outbound.send(errorOf(issue));
        continue;
      }
      const seq = numbered.range.first + index;
      numbered.stream.acks.noteRejected(numbered.range, seq);
      this.#outbound.send(finalNack(seq, 1, issue, numbered.stream.reference));
    }
    this.#countUnproductive(now);
  }

  #rejectFrame(frame: RejectedFrame, now: number): void {
    const { issue, seq, count } = frame;
    this.#context.admission.reject(issue, { claims: this.claims }, now, count);
    this.#settleRejected(frame, now);
    this.#sendIssue(issue, { ...frame, seq: count === 0 ? undefined : seq });
    if (frame.isUnreadable) this.#unreadableFrames += 1;
    this.#malformedInARow += 1;
    if (this.#malformedInARow >= this.#context.limits.malformedFramesInARowMax)
      return this.close(closeCodes.malformed, `${this.#malformedInARow} malformed frames in a row`);
    this.#countUnproductive(now);
  }

  /** The numbers of a rejected frame are received and settled, so that they are no gap before the next frame. */
  #settleRejected(
    { seq, count, isAddressed, deviceId = this.claims.sub, epoch = this.epoch }: RejectedFrame,
    now: number,
  ): void {
    if (seq === undefined || count === 0 || !isAddressed || count - 1 > limits.seqMax - seq) return;
    if (!mayPublishAs(this.claims, deviceId)) return;
    const stream = this.#streams.find(deviceId, epoch);
    if (stream === undefined) return;
    const last = seq + count - 1;
    this.#nackSkipped(stream, seq, last, now);
    stream.acks.reject(seq, last);
    this.#context.ackSchedule.add(this);
  }

  /**
   * Frames of a socket arrive in order. Numbers that are skipped after an unreadable frame may have been in it: they are nacked for good
   * before an ack can cover them. For good, since a device that sends the same bytes again would never get past them.
   * Once for each unreadable frame and stream: a gap without an unreadable frame before it is the device's own.
   */
  #nackSkipped(stream: Stream, first: number, last: number, now: number): void {
    const { next = 0 } = stream.acks;
    // A frame with lower numbers is sent again; it says nothing about the numbers that follow.
    if (stream.unreadableFramesSeen === this.#unreadableFrames || last < next) return;
    const frames = this.#unreadableFrames - stream.unreadableFramesSeen;
    stream.unreadableFramesSeen = this.#unreadableFrames;
    if (first <= next) return;
    const count = first - next;
    const text = `were skipped after ${frames} frame${frames === 1 ? '' : 's'} that could not be read; see the errors before`;
    const { issue } = refused('unreadable-frame', '', `numbers ${next} to ${first - 1} ${text}`);
    // The device may have skipped numbers too: a frame holds no more than this.
    this.#context.outcomes.reject(stream.deviceId, now, Math.min(count, frames * limits.readingsPerFrameMax));
    this.#outbound.send(finalNack(next, count, issue, stream.reference));
  }

  #sendIssue(
    issue: ValidationIssue,
    { seq, count, deviceId, epoch }: Pick<RejectedFrame, 'seq' | 'count' | 'deviceId' | 'epoch'>,
  ): void {
    this.#outbound.send(
      seq === undefined ? errorOf(issue) : finalNack(seq, count, issue, referenceOf(deviceId, epoch)),
    );
  }

  /** Pings and rejected frames cost CPU and store nothing: too many in a second close the socket with 4429. */
  #countUnproductive(now: number): void {
    const second = Math.floor(now / 1_000);
    if (second !== this.#unproductiveSecond) {
      this.#unproductiveSecond = second;
      this.#unproductiveFrames = 0;
    }
    this.#unproductiveFrames += 1;
    const { unproductiveFramesPerSecondMax } = this.#context.limits;
    if (this.#unproductiveFrames > unproductiveFramesPerSecondMax)
      this.close(
        closeCodes.tooFast,
        `more than ${unproductiveFramesPerSecondMax} pings and refused frames in a second`,
      );
  }
}

/** The numbers of a range without the rejected ones, which have been nacked for good. */
function* partsBetween({ first, last, rejected }: AckRange): Iterable<{ first: number; last: number }> {
  let next = first;
  for (const seq of [...rejected, last + 1]) {
    if (next < seq) yield { first: next, last: seq - 1 };
    next = seq + 1;
  }
}

/** A stream as the frame named it. */
function referenceOf(deviceId: string | undefined, epoch: string | undefined): StreamReference {
  return { ...(deviceId === undefined ? {} : { deviceId }), ...(epoch === undefined ? {} : { epoch }) };
}
