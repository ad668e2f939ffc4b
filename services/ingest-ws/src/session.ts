import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { type Claims, mayPublishAs } from '@fleetwire/contracts/access';
import {
  type DeviceFrame,
  type RefusedFrame,
  type ServerMessage,
  type StreamReference,
  closeCodes,
  parseDeviceFrame,
} from '@fleetwire/contracts/device-protocol';
import { limits } from '@fleetwire/contracts/limits';
import { type ValidationIssue, refused } from '@fleetwire/contracts/validation-issue';
import type { Reading } from '@fleetwire/contracts/reading';
import type { Telemetry } from '@fleetwire/contracts/telemetry-input';
import { type Context, contextOf } from '@fleetwire/runtime/trace-context';
import type { Accounts } from './accounts.ts';
import { ackFrame } from './ack-frame.ts';
import { errorOf, finalNack, inFlightLimit, retryableNack } from './answers.ts';
import type { AutoSequence } from './auto-sequence.ts';
import type { Intake, Refusal } from './intake.ts';
import type { IngestMetrics } from './metrics.ts';
import { SessionStreams, type Stream } from './session-streams.ts';
import type { Passage } from './stream-acks.ts';
import type { Source } from './trail.ts';

interface SessionLimits {
  readonly payloadBytesMax: number;
  readonly inFlightMax: number;
  readonly outboundBytesMax: number;
  readonly heartbeatIntervalMs: number;
  readonly malformedFramesInARowMax: number;
  readonly unproductiveFramesPerSecondMax: number;
}

export interface SessionContext {
  readonly intake: Intake;
  readonly autoSequence: AutoSequence;
  readonly accounts: Accounts;
  readonly metrics: IngestMetrics;
  readonly limits: SessionLimits;
  /** The last seq that an earlier session of this stream settled, where that is known. */
  readonly lastSeqOf: (deviceId: string, epoch: string) => number | undefined;
  /** Calls `flushAcks` soon, once for all that was settled meanwhile. */
  readonly scheduleFlush: (session: Session) => void;
}

type TelemetryFrame = Extract<DeviceFrame, { type: 'telemetry' }>;

/** Streams of one gateway's socket whose acks are not complete; a device has one or two. */
const openStreamsMax = 10_000;

/** One device's (or gateway's) socket: frames in, acks out. */
export class Session {
  readonly id: string;
  readonly claims: Claims;
  readonly epoch: string;
  readonly #socket: WebSocket;
  readonly #raw: Duplex;
  readonly #context: SessionContext;
  readonly #source: Source;
  readonly #streams: SessionStreams;
  #inFlight = 0;
  #isAlive = true;
  #malformedInARow = 0;
  #unproductiveSecond = 0;
  #unproductiveFrames = 0;

  /** @param raw what `socket` writes to, frame by frame */
  constructor(
    socket: WebSocket,
    raw: Duplex,
    identity: { id: string; claims: Claims; epoch: string },
    context: SessionContext,
  ) {
    this.id = identity.id;
    this.claims = identity.claims;
    this.epoch = identity.epoch;
    this.#socket = socket;
    this.#raw = raw;
    this.#context = context;
    this.#source = { sessionId: identity.id };
    this.#streams = new SessionStreams({
      own: { deviceId: identity.claims.sub, epoch: identity.epoch },
      streamsMax: openStreamsMax,
      lastSeqOf: context.lastSeqOf,
    });
    socket.on('message', (data: Buffer, isBinary) => this.#receive(data, isBinary));
    socket.on('pong', () => {
      this.#isAlive = true;
    });
    // 'close' follows with the code; ws has answered with 1007 or 1009 itself.
    socket.on('error', (error) =>
      context.metrics.closedSockets.inc({ reason: 'code' in error ? String(error.code) : 'socket-error' }),
    );
    this.#greet();
  }

  #greet(): void {
    const lastSeq = this.#context.lastSeqOf(this.claims.sub, this.epoch);
    const { payloadBytesMax, inFlightMax, heartbeatIntervalMs } = this.#context.limits;
    const { readingsPerFrameMax, metricsPerReadingMax } = limits;
    this.#send({
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
    this.#socket.pause();
  }

  resume(): void {
    // Nothing was read meanwhile, no pong either.
    this.#isAlive = true;
    this.#socket.resume();
  }

  /** Once an interval: cuts a socket that answered nothing since the last time, and pings. A token that ran out ends the session too. */
  heartbeat(now: number): void {
    if (this.claims.exp !== undefined && now >= this.claims.exp * 1_000)
      return this.close(closeCodes.unauthorised, 'the token has expired');
    // While paused we read nothing, so silence proves nothing; but the device is told that we are here.
    if (!this.#socket.isPaused && !this.#isAlive) return this.#cut('heartbeat-missed');
    this.#isAlive = false;
    this.#socket.ping();
  }

  close(code: number, reason: string): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    this.#context.metrics.closedSockets.inc({ reason: String(code) });
    // A paused socket would not read the peer's answer.
    this.#socket.resume();
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /** Resolves when the socket is gone. */
  whenClosed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.readyState === this.#socket.CLOSED) resolve();
      else this.#socket.once('close', () => resolve());
    });
  }

  /** For {@link SessionContext.lastSeqOf} of later sessions. */
  settledStreams(): Iterable<{ deviceId: string; epoch: string; upTo: number }> {
    return this.#streams.settled();
  }

  flushAcks(): void {
    for (const taken of this.#streams.takeAcks()) {
      const ack = { type: 'ack', ...taken } as const;
      const frame = ackFrame(ack);
      if (frame === undefined) this.#send(ack);
      else this.#write(() => this.#raw.write(frame));
    }
  }

  #receive(data: Buffer, isBinary: boolean): void {
    this.#isAlive = true;
    if (isBinary)
      return this.#refuseFrame({
        ok: false,
        issue: refused('binary-frame', '', 'send JSON as a text frame').issue,
        ...unreadable,
      });
    const now = Date.now();
    const frame = parseDeviceFrame(data.toString('utf8'), now);
    if (!frame.ok) return this.#refuseFrame(frame);
    this.#malformedInARow = 0;
    this.#handle(frame.value, data.length, now);
  }

  #handle(frame: DeviceFrame, bytes: number, now: number): void {
    switch (frame.type) {
      case 'ping':
        this.#countUnproductive(now);
        return this.#send({ type: 'pong', ts: now });
      case 'telemetry':
        return this.#take(frame, bytes, now);
    }
  }

  #take({ telemetry, traceparent }: TelemetryFrame, bytes: number, now: number): void {
    const { readings } = this.#context.metrics;
    const { observations, issues } = telemetry;
    const count = observations.length;
    readings.add('received', count);
    const deviceId = telemetry.deviceId ?? this.claims.sub;
    if (!mayPublishAs(this.claims, deviceId)) {
      return this.#refuse(
        telemetry,
        deviceId,
        refused('forbidden', 'deviceId', `is "${deviceId}"; this token publishes as "${this.claims.sub}" only`).issue,
        now,
      );
    }
    if (issues.length === count && telemetry.seq === undefined)
      return this.#refuseReadings(telemetry, undefined, issues, now);

    const { epoch, seq } =
      telemetry.seq === undefined
        ? this.#context.autoSequence.take(deviceId, count)
        : { epoch: telemetry.epoch ?? this.epoch, seq: telemetry.seq };
    const stream = this.#streams.find(deviceId, epoch);
    if (stream === undefined) {
      readings.add('nacked', count);
      this.#context.accounts.count('nacked', deviceId, now, count);
      return this.close(closeCodes.overloaded, `more than ${openStreamsMax} streams wait for acks (openStreamsMax)`);
    }
    const passage = stream.acks.begin(seq, seq + count - 1);
    if (issues.length > 0) this.#refuseReadings(telemetry, { stream, passage }, issues, now);
    if (issues.length === count) {
      stream.acks.settle(passage);
      this.#context.scheduleFlush(this);
      return;
    }

    const { inFlightMax } = this.#context.limits;
    const good = count - issues.length;
    if (this.#inFlight + count > inFlightMax) {
      this.#context.accounts.count('nacked', deviceId, now, good);
      return this.#nack(stream, passage, good, inFlightLimit(inFlightMax));
    }
    const from = traceparent === undefined ? undefined : contextOf({ traceparent });
    const refusal = this.#submit(stream, passage, { observations, bytes, from }, now);
    if (refusal !== undefined) this.#nack(stream, passage, good, refusal);
  }

  #submit(
    stream: Stream,
    passage: Passage,
    {
      observations,
      bytes,
      from,
    }: { observations: Telemetry['observations']; bytes: number; from: Context | undefined },
    now: number,
  ): Refusal | undefined {
    const readings = numbered(observations, passage.first);
    const count = readings.length;
    const refusal = this.#context.intake.submit({
      runs: [{ deviceId: stream.deviceId, epoch: stream.epoch, receivedAt: now, readings }],
      readings: count,
      bytes,
      source: this.#source,
      from,
      settle: (unconfirmed) => {
        this.#inFlight -= count;
        if (unconfirmed !== undefined) return this.#nack(stream, passage, count, unconfirmed);
        this.#context.metrics.readings.add('confirmed', count);
        stream.acks.settle(passage);
        this.#context.scheduleFlush(this);
      },
    });
    if (refusal === undefined) this.#inFlight += count;
    return refusal;
  }

  #nack(stream: Stream, passage: Passage, count: number, refusal: Refusal): void {
    this.#context.metrics.readings.add('nacked', count);
    stream.acks.leaveHole(passage);
    if (stream.acks.holeCount > this.#context.limits.inFlightMax)
      return this.close(closeCodes.overloaded, 'too many nacked readings were not sent again');
    this.#send(retryableNack(passage, refusal, stream.reference));
  }

  /** Single readings that can never be taken; their neighbours are on their way. */
  #refuseReadings(
    telemetry: Telemetry,
    numbered: { stream: Stream; passage: Passage } | undefined,
    issues: Telemetry['issues'],
    now: number,
  ): void {
    const { readings, refusedFrames } = this.#context.metrics;
    readings.add('rejected', issues.length);
    this.#context.accounts.count('rejected', numbered?.stream.deviceId ?? this.claims.sub, now, issues.length);
    for (const { index, issue } of issues) {
      refusedFrames.inc({ code: issue.code });
      if (numbered === undefined || telemetry.seq === undefined) {
        this.#send(errorOf(issue));
        continue;
      }
      const seq = numbered.passage.first + index;
      numbered.stream.acks.noteRefused(numbered.passage, seq);
      this.#send(finalNack(seq, 1, issue, numbered.stream.reference));
    }
    this.#countUnproductive(now);
  }

  /** A whole frame of readable telemetry that this token may not send. */
  #refuse(telemetry: Telemetry, deviceId: string, issue: ValidationIssue, now: number): void {
    const count = telemetry.observations.length;
    this.#context.metrics.readings.add('rejected', count);
    // On the account of who sent it, not of the device that it claims to be.
    this.#context.accounts.count('rejected', this.claims.sub, now, count);
    this.#context.metrics.refusedFrames.inc({ code: issue.code });
    const { seq, epoch } = telemetry;
    this.#send(seq === undefined ? errorOf(issue) : finalNack(seq, count, issue, referenceOf(deviceId, epoch)));
    this.#countUnproductive(now);
  }

  #refuseFrame({ issue, seq, count, deviceId, epoch }: RefusedFrame): void {
    this.#context.metrics.refusedFrames.inc({ code: issue.code });
    this.#send(seq === undefined ? errorOf(issue) : finalNack(seq, count, issue, referenceOf(deviceId, epoch)));
    this.#malformedInARow += 1;
    if (this.#malformedInARow >= this.#context.limits.malformedFramesInARowMax)
      return this.close(closeCodes.malformed, `${this.#malformedInARow} malformed frames in a row`);
    this.#countUnproductive(Date.now());
  }

  /** Frames that carry nothing are free of charge for nobody else: too many in one second end the session. */
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

  #send(message: ServerMessage): void {
    this.#write(() => this.#socket.send(JSON.stringify(message)));
  }

  #write(write: () => void): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    write();
    if (this.#socket.bufferedAmount > this.#context.limits.outboundBytesMax) this.#cut('slow-reader');
  }

  #cut(reason: string): void {
    this.#context.metrics.closedSockets.inc({ reason });
    this.#socket.terminate();
  }
}

const unreadable = { seq: undefined, count: 1, deviceId: undefined, epoch: undefined };

function numbered(observations: Telemetry['observations'], first: number): Reading[] {
  const readings = observations.map((observation, index) =>
    observation === undefined ? undefined : { seq: first + index, ts: observation.ts, metrics: observation.metrics },
  );
  return readings.filter((reading) => reading !== undefined);
}

/** A stream as the frame named it. */
function referenceOf(deviceId: string | undefined, epoch: string | undefined): StreamReference {
  return { ...(deviceId === undefined ? {} : { deviceId }), ...(epoch === undefined ? {} : { epoch }) };
}
