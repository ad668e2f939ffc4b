import {
  type ErrorMessage,
  type NackMessage,
  type StreamReference,
  deviceFrameTypes,
} from '@fleetwire/contracts/device-protocol';
import type { ValidationIssue } from '@fleetwire/contracts/validation-issue';
import type { Refusal } from './intake.ts';

/** Refused for good: the same readings would be refused again. */
export function finalNack(seq: number, count: number, issue: ValidationIssue, reference: StreamReference): NackMessage {
  const { code, message } = issue;
  return { type: 'nack', seq, count, code, message, retryable: false, ...reference };
}

export function retryableNack(
  { first, last }: { readonly first: number; readonly last: number },
  refusal: Refusal,
  reference: StreamReference,
): NackMessage {
  return { type: 'nack', seq: first, count: last - first + 1, ...refusal, retryable: true, ...reference };
}

/** For what has no seq to be named by. */
export function errorOf(issue: ValidationIssue): ErrorMessage {
  const { code, field, message } = issue;
  const isUnknown = code === 'unknown-type' || (code === 'missing-field' && field === 'type');
  return { type: 'error', code, message, retryable: false, ...(isUnknown ? { acceptedTypes: deviceFrameTypes } : {}) };
}

export function inFlightLimit(inFlightMax: number): Refusal {
  const message = `more than ${inFlightMax} readings of this socket wait for their ack (inFlightMax)`;
  return { code: 'in-flight-limit', message, retryAfterMs: 100 };
}
