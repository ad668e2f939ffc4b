import type { EnvelopePosition } from '@fleetwire/contracts/envelope-position';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';

/** Between which times the readings of an envelope lie, epoch milliseconds. */
export interface EnvelopeTimes {
  readonly receivedMin: number;
  readonly receivedMax: number;
  readonly tsMin: number;
  readonly tsMax: number;
}

/** An envelope whose readings all have their final fate. */
export interface SettledEnvelope {
  readonly position: EnvelopePosition;
  /** Undefined where it has no reading that may be stored. */
  readonly times: EnvelopeTimes | undefined;
}

export function timesOf(readings: readonly IdentifiedReading[]): EnvelopeTimes | undefined {
  const [first] = readings;
  if (first === undefined) return undefined;
  let [receivedMin, receivedMax, tsMin, tsMax] = [first.receivedAt, first.receivedAt, first.ts, first.ts];
  for (const { receivedAt, ts } of readings) {
    if (receivedAt < receivedMin) receivedMin = receivedAt;
    if (receivedAt > receivedMax) receivedMax = receivedAt;
    if (ts < tsMin) tsMin = ts;
    if (ts > tsMax) tsMax = ts;
  }
  return { receivedMin, receivedMax, tsMin, tsMax };
}

export function unite(one: EnvelopeTimes | undefined, other: EnvelopeTimes | undefined): EnvelopeTimes | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return {
    receivedMin: Math.min(one.receivedMin, other.receivedMin),
    receivedMax: Math.max(one.receivedMax, other.receivedMax),
    tsMin: Math.min(one.tsMin, other.tsMin),
    tsMax: Math.max(one.tsMax, other.tsMax),
  };
}
