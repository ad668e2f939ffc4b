import { mayPublishAs } from '@fleetwire/contracts/access';
import { type RejectedFrame, type StreamReference, closeCodes } from '@fleetwire/contracts/device-protocol';
import { limits } from '@fleetwire/contracts/limits';
import type { Telemetry } from '@fleetwire/contracts/telemetry-input';
import { type ValidationIssue, refused } from '@fleetwire/contracts/validation-issue';
import { errorOf, finalNack } from './outbound.ts';
import { rejectedNeighbours } from './rejected-neighbours.ts';
import type { SessionParts } from './session-context.ts';
import type { Stream } from './session-streams.ts';
import type { AckRange } from './stream-acks.ts';

/** A frame with rejected readings that takes several answers counts as one unproductive frame for each of these. */
const answersPerUnproductiveFrame = 10;

/** Answers the frames and readings of one socket that are rejected, and closes a socket that sends too many of them. */
export class Rejections {
  readonly #session: SessionParts;
  #malformedInARow = 0;
  #unproductiveSecond = 0;
  #unproductiveFrames = 0;
  /** How many readings unreadable frames may have held that were not counted as rejected yet. */
  #uncountedReadings = 0;

  constructor(session: SessionParts) {
    this.#session = session;
  }

  /** A frame could be parsed. */
  endMalformedRow(): void {
    this.#malformedInARow = 0;
  }

  /** Answers a frame that could not be parsed. */
  rejectFrame(frame: RejectedFrame, now: number): void {
    const { outbound, claims, context } = this.#session;
    const { issue, seq, count } = frame;
    context.admission.reject(issue, { claims }, now, count);
    this.#settleRejected(frame, now);
    this.#sendIssue(issue, { ...frame, seq: count === 0 ? undefined : seq });
    if (frame.isUnreadable) this.#noteUnreadable(frame);
    this.#malformedInARow += 1;
    if (this.#malformedInARow >= context.limits.malformedFramesInARowMax)
      return outbound.close(closeCodes.malformed, `${this.#malformedInARow} malformed frames in a row`);
    this.countUnproductive(now);
  }

  /** Answers a frame whose readings are all rejected: together for one issue, or each for its own. */
  rejectTelemetry(telemetry: Telemetry, issue: ValidationIssue | undefined, now: number): void {
    if (issue === undefined) return this.rejectReadings(telemetry, undefined, now);
    const { deviceId = this.#session.claims.sub, epoch, seq, observations } = telemetry;
    this.#sendIssue(issue, { seq, count: observations.length, deviceId, epoch });
    this.countUnproductive(now);
  }

  /** Answers single readings that are rejected; the others of the frame are in flight. */
  rejectReadings(
    telemetry: Telemetry,
    numbered: { readonly stream: Stream; readonly range: AckRange } | undefined,
    now: number,
  ): void {
    let answers = 0;
    for (const { index, count, issue } of rejectedNeighbours(telemetry.issues)) {
      answers += 1;
      if (numbered === undefined || telemetry.seq === undefined) {
        this.#session.outbound.send(errorOf(issue, count));
        continue;
      }
      const seq = numbered.range.first + index;
      for (let each = seq; each < seq + count; each += 1) numbered.stream.acks.noteRejected(numbered.range, each);
      this.#session.outbound.send(finalNack(seq, count, issue, numbered.stream.reference));
    }
    this.countUnproductive(now, Math.ceil(answers / answersPerUnproductiveFrame));
  }

  /**
   * Frames of a socket arrive in order. Numbers that are skipped after an unreadable frame may have been in it: they get a final nack
   * before an ack can cover them. Final, since a device that sends the same bytes again would never get past them.
   * Where the frame names its stream, only that one is looked at; else any stream of the socket, since an ack of it could cover the frame.
   * Once for each unreadable frame and stream: a gap without an unreadable frame before it is the device's own.
   */
  nackSkipped(stream: Stream, first: number, last: number, now: number): void {
    const { next = 0 } = stream.acks;
    const { unreadableFrames } = this.#session.streams;
    const frames = unreadableFrames - stream.unreadableFramesSeen + stream.ownUnreadableFrames;
    // A frame with lower numbers is sent again; it says nothing about the numbers that follow.
    if (frames === 0 || last < next) return;
    stream.unreadableFramesSeen = unreadableFrames;
    stream.ownUnreadableFrames = 0;
    if (first <= next) return;
    const count = first - next;
    const text = `were skipped after ${frames} frame${frames === 1 ? '' : 's'} that could not be read; see the errors before`;
    const { issue } = refused('unreadable-frame', '', `numbers ${next} to ${first - 1} ${text}`);
    // The device may have skipped numbers too, and a gateway's frame may have been of another of its streams: no more are counted than the frames hold.
    const { context, outbound } = this.#session;
    const counted = Math.min(count, this.#uncountedReadings);
    this.#uncountedReadings -= counted;
    if (counted > 0) context.outcomes.reject(stream.deviceId, now, counted);
    outbound.send(finalNack(next, count, issue, stream.reference));
  }

  /** Pings and rejected frames cost CPU and store nothing: too many in a second close the socket with 4429. */
  countUnproductive(now: number, frames = 1): void {
    const second = Math.floor(now / 1_000);
    if (second !== this.#unproductiveSecond) {
      this.#unproductiveSecond = second;
      this.#unproductiveFrames = 0;
    }
    this.#unproductiveFrames += frames;
    const { unproductiveFramesPerSecondMax } = this.#session.context.limits;
    if (this.#unproductiveFrames > unproductiveFramesPerSecondMax)
      this.#session.outbound.close(
        closeCodes.tooFast,
        `more than ${unproductiveFramesPerSecondMax} pings and refused frames in a second`,
      );
  }

  #noteUnreadable({ isNamed, ...frame }: RejectedFrame): void {
    const { claims, streams } = this.#session;
    const { deviceId = claims.sub, epoch = this.#session.epoch } = frame;
    // No reading of another device's stream is ever acked on this socket.
    if (isNamed && !mayPublishAs(claims, deviceId)) return;
    this.#uncountedReadings += limits.readingsPerFrameMax;
    const stream = isNamed ? streams.find(deviceId, epoch) : 'unnamed';
    if (typeof stream === 'string') streams.unreadableFrames += 1;
    else {
      stream.ownUnreadableFrames += 1;
      // Without readings in flight the stream is set aside with the acks.
      this.#session.scheduleAck(stream);
    }
  }

  /** The numbers of a rejected frame are received and settled, so that they are no gap before the next frame. */
  #settleRejected({ seq, count, isAddressed, ...frame }: RejectedFrame, now: number): void {
    const { claims, streams } = this.#session;
    const { deviceId = claims.sub, epoch = this.#session.epoch } = frame;
    if (seq === undefined || count === 0 || !isAddressed || count - 1 > limits.seqMax - seq) return;
    if (!mayPublishAs(claims, deviceId)) return;
    const stream = streams.find(deviceId, epoch);
    if (typeof stream === 'string') return;
    const last = seq + count - 1;
    this.nackSkipped(stream, seq, last, now);
    stream.acks.reject(seq, last);
    this.#session.scheduleAck(stream);
  }

  #sendIssue(
    issue: ValidationIssue,
    { seq, count, deviceId, epoch }: Pick<RejectedFrame, 'seq' | 'count' | 'deviceId' | 'epoch'>,
  ): void {
    const answer = seq === undefined ? errorOf(issue) : finalNack(seq, count, issue, referenceOf(deviceId, epoch));
    this.#session.outbound.send(answer);
  }
}

/** A stream as the frame named it. */
function referenceOf(deviceId: string | undefined, epoch: string | undefined): StreamReference {
  return { ...(deviceId === undefined ? {} : { deviceId }), ...(epoch === undefined ? {} : { epoch }) };
}
