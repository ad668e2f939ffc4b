import type { nackCodes } from '@fleetwire/contracts/device-protocol';
import type { PublishFailure } from '@fleetwire/broker/errors';
import type { BrokerOutage } from './broker-outage.ts';

/** Why readings got a retryable nack: the device sends them again after `retryAfterMs`. A final nack carries a `ValidationIssue`: those readings are rejected. */
export interface NackReason {
  readonly code: (typeof nackCodes)[number];
  readonly message: string;
  readonly retryAfterMs: number;
}

export function inFlightLimit(inFlightMax: number): NackReason {
  const message = `more than ${inFlightMax} readings of this socket are in flight (inFlightMax)`;
  return { code: 'in-flight-limit', message, retryAfterMs: 100 };
}

export function bytesInFlightLimit(socketBytesInFlightMax: number): NackReason {
  const message = `more than ${socketBytesInFlightMax} bytes of this socket are in flight (socketBytesInFlightMax)`;
  return { code: 'in-flight-limit', message, retryAfterMs: 100 };
}

export function subjectBytesLimit(subject: string, bytesInFlightMax: number): NackReason {
  const message = `more than ${bytesInFlightMax} bytes of "${subject}" are in flight, over all its sockets and requests (subjectBytesInFlightMax)`;
  return { code: 'in-flight-limit', message, retryAfterMs: retryAfterMs(1_000) };
}

export function streamLimit(openStreamsMax: number): NackReason {
  const message = `more than ${openStreamsMax} streams of this socket have readings in flight (openStreamsMax)`;
  return { code: 'overloaded', message, retryAfterMs: retryAfterMs(1_000) };
}

/** Short enough for the reason of a close frame, which has 123 bytes. */
export function subjectStreamLimit(limit: string, streamsMax: number): NackReason {
  const message = `more than ${streamsMax} streams of this subject have unacked readings (${limit}); await acks, then go on`;
  return { code: 'overloaded', message, retryAfterMs: retryAfterMs(1_000) };
}

export function bufferFull(bufferBytesMax: number): NackReason {
  const message = `more than ${bufferBytesMax} bytes await their confirm (bufferBytesMax)`;
  return { code: 'overloaded', message, retryAfterMs: retryAfterMs(1_000) };
}

export function draining(): NackReason {
  const message = 'this instance is shutting down; connect again';
  return { code: 'draining', message, retryAfterMs: retryAfterMs(1_000) };
}

export function brokerUnavailable(outage: BrokerOutage): NackReason {
  const message = 'the message broker cannot be reached; nothing was taken';
  return { code: 'broker-unavailable', message, retryAfterMs: outage.retryAfterMs() };
}

/** The broker did not confirm the envelope of the readings; with `unavailable` and `window-full` it was not sent. */
export function notConfirmed(kind: PublishFailure | 'failed', outage: BrokerOutage): NackReason {
  return kind === 'nacked'
    ? {
        code: 'overloaded',
        message: 'the queue is full; the broker refused the readings',
        retryAfterMs: retryAfterMs(5_000),
      }
    : {
        code: 'broker-unavailable',
        message: `the broker did not confirm the readings (${kind})`,
        retryAfterMs: outage.retryAfterMs(),
      };
}

/** @param answerTimeoutMs counted from the arrival of the readings */
export function answerTimeout(answerTimeoutMs: number, outage: BrokerOutage): NackReason {
  const message = `the broker did not confirm the readings within ${answerTimeoutMs} ms of their arrival (answerTimeoutMs)`;
  return { code: 'broker-unavailable', message, retryAfterMs: outage.retryAfterMs() };
}

/** Spread over one to two times `baseMs`, so that a fleet does not send everything again at the same moment. */
function retryAfterMs(baseMs: number): number {
  return Math.round(baseMs * (1 + Math.random()));
}
