import { type DeviceFrame, closeCodes } from '@fleetwire/contracts/device-protocol';
import { contextOf } from '@fleetwire/runtime/trace-context';
import { type NackReason, bytesInFlightLimit, inFlightLimit, streamLimit, subjectStreamLimit } from './nack-reasons.ts';
import { retryableNack } from './outbound.ts';
import type { Rejections } from './rejections.ts';
import type { SessionParts } from './session-context.ts';
import { type Stream, openStreamsMax } from './session-streams.ts';
import type { AckRange } from './stream-acks.ts';
import type { SubjectShare } from './subject-shares.ts';
import type { Source } from './tracing.ts';

type TelemetryFrame = Extract<DeviceFrame, { type: 'telemetry' }>;

/** Takes the telemetry frames of one socket: keeps its flow control, submits the readings, and has their outcome answered. */
export class TelemetryFrames {
  readonly #session: SessionParts;
  readonly #rejections: Rejections;
  readonly #source: Source;
  readonly #share: SubjectShare;
  #inFlight = 0;
  #bytesInFlight = 0;

  constructor(session: SessionParts, rejections: Rejections) {
    this.#session = session;
    this.#rejections = rejections;
    this.#share = session.share;
    this.#source = { sessionId: session.id };
  }

  receive({ telemetry, traceparent }: TelemetryFrame, bytes: number, now: number): void {
    const { claims, epoch, outbound, streams, stored, context, isPlain } = this.#session;
    const { admission, outcomes, intake, metrics } = context;
    const { inFlightMax, socketBytesInFlightMax } = context.limits;
    const admitted = admission.admit(telemetry, { claims, epoch }, now);
    if (!admitted.ok) return this.#rejections.rejectTelemetry(telemetry, admitted.issue, now);
    const { run, first, last } = admitted;
    if (claims.role !== 'device') context.holders.note(run.deviceId, this.#session);
    const stream = streams.find(run.deviceId, run.epoch);
    const traceContext = traceparent === undefined ? undefined : contextOf({ traceparent });
    const arrival = { runs: [run], bytes, source: this.#source, traceContext };
    if (typeof stream === 'string') {
      const isOfSubject = stream === 'subjectStreams';
      const { streamBound } = this.#share;
      if (isOfSubject && outbound.isOpen) metrics.limitsReached.inc({ limit: streamBound.limit });
      const nackReason = isOfSubject
        ? subjectStreamLimit(streamBound.limit, streamBound.max)
        : streamLimit(openStreamsMax);
      return outcomes
        .receive(arrival, () => outbound.close(closeCodes.overloaded, nackReason.message))
        .nack(nackReason);
    }
    if (telemetry.seq !== undefined) this.#rejections.nackSkipped(stream, first, last, now);
    const range = stream.acks.begin(first, last);
    if (telemetry.issues.length > 0) this.#rejections.rejectReadings(telemetry, { stream, range }, now);
    const count = run.readings.length;
    if (count === 0) {
      stream.acks.settle(range);
      return this.#session.scheduleAck(stream);
    }

    // With nothing in flight even a larger frame is accepted: nacked, it would come again for ever.
    const isBeyondReadings = this.#inFlight > 0 && this.#inFlight + telemetry.observations.length > inFlightMax;
    const isBeyondBytes = this.#inFlight > 0 && this.#bytesInFlight + bytes > socketBytesInFlightMax;
    const subjectExcess = this.#share.excess(bytes);
    this.#inFlight += count;
    this.#bytesInFlight += bytes;
    this.#share.begin(bytes);
    const submission = outcomes.receive(arrival, (nackReason) => {
      this.#inFlight -= count;
      this.#bytesInFlight -= bytes;
      this.#share.settle(bytes);
      if (nackReason !== undefined && telemetry.seq !== undefined) return this.#nack(stream, range, nackReason);
      // Numbers of the server are not sent again: the device sends nacked readings under new ones, so the old ones must not hold back acks.
      if (nackReason !== undefined && isPlain) outbound.send({ type: 'error', ...nackReason, retryable: true });
      else if (nackReason !== undefined) this.#sendNacks(stream, range, nackReason);
      stream.acks.settle(range);
      this.#session.scheduleAck(stream);
    });
    if (isBeyondReadings || isBeyondBytes) {
      metrics.limitsReached.inc({ limit: isBeyondReadings ? 'inFlightMax' : 'socketBytesInFlightMax' });
      return submission.nack(
        isBeyondReadings ? inFlightLimit(inFlightMax) : bytesInFlightLimit(socketBytesInFlightMax),
      );
    }
    if (stored?.isOpen === true) submission.awaited = stored.await(stream, range);
    if (subjectExcess === undefined) return intake.submit(submission);
    metrics.limitsReached.inc({ limit: 'subjectBytesInFlightMax' });
    submission.nack(subjectExcess);
  }

  #nack(stream: Stream, range: AckRange, nackReason: NackReason): void {
    const { streams, outbound, context } = this.#session;
    const { inFlightMax, pendingResendsMax } = context.limits;
    stream.acks.awaitResend(range);
    // The ack can wait for the next one that is due.
    streams.noteChanged(stream);
    // Each range has at least one reading.
    if (stream.acks.pendingResendRanges > inFlightMax)
      return outbound.close(closeCodes.overloaded, 'too many nacked readings were not sent again');
    if (streams.pendingResends > pendingResendsMax) {
      if (outbound.isOpen) context.metrics.limitsReached.inc({ limit: 'pendingResendsMax' });
      const text = `more than ${pendingResendsMax} nacked frames were not sent again (pendingResendsMax)`;
      return outbound.close(closeCodes.overloaded, text);
    }
    this.#sendNacks(stream, range, nackReason);
  }

  #sendNacks(stream: Stream, range: AckRange, nackReason: NackReason): void {
    for (const part of partsBetween(range))
      this.#session.outbound.send(retryableNack(part, nackReason, stream.reference));
  }
}

/** The numbers of a range without the rejected ones, which have had a final nack. */
function* partsBetween({ first, last, rejected }: AckRange): Iterable<{ first: number; last: number }> {
  let next = first;
  for (const seq of [...rejected, last + 1]) {
    if (next < seq) yield { first: next, last: seq - 1 };
    next = seq + 1;
  }
}
