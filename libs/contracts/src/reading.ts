import Type from 'typebox';
import { limits } from './limits.ts';
import { MetricValue, Metrics, parseMetrics } from './metrics.ts';
import { type Parsed, accepted, refused } from './validation-issue.ts';
import { parseTimestamp } from './timestamp.ts';

/** One observation, parsed: `ts` in epoch milliseconds. */
export interface Observation {
  readonly ts: number;
  readonly metrics: Metrics;
}

/** An observation with its number in a stream. */
export type Reading = Observation & { readonly seq: number };

/** A reading with its identity `(deviceId, epoch, seq)` and the time at which the edge received it (epoch milliseconds). */
export type IdentifiedReading = Reading & {
  readonly deviceId: string;
  readonly epoch: string;
  readonly receivedAt: number;
};

/** Whether the device's clock was so far ahead of the server's that the reading does not become the latest state. */
export function isAhead({ ts, receivedAt }: Pick<IdentifiedReading, 'ts' | 'receivedAt'>): boolean {
  return ts > receivedAt + limits.latestAheadMaxMs;
}

/** The accepted forms of one observation on the wire; the API documentation is generated from it. */
export const ObservationInput = Type.Object(
  {
    ts: Type.Optional(
      Type.Union([Type.Number(), Type.String()], {
        description:
          'Device time: epoch milliseconds, or RFC 3339 with an offset. Optional only when seq is left out too',
      }),
    ),
    metrics: Type.Optional(Metrics),
    value: Type.Optional(MetricValue),
  },
  { description: 'One observation: `metrics`, or a bare `value` (stored as the metric "value")' },
);

/** @param now epoch milliseconds; also the time of an observation that has none, unless `tsRequired` */
export function parseObservation(value: unknown, now: number, tsRequired: boolean): Parsed<Observation> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refused('wrong-type', '', 'must be an object');
  const input = value as { ts?: unknown; metrics?: unknown; value?: unknown };

  let ts = now;
  if (input.ts !== undefined) {
    const parsed = parseTimestamp(input.ts, now);
    if (!parsed.ok) return parsed;
    ts = parsed.value;
  } else if (tsRequired) {
    // With server time a reading would change its content whenever it is sent again.
    return refused('missing-field', 'ts', 'is missing; a reading with a seq carries its own time');
  }

  if (input.metrics === undefined && input.value === undefined)
    return refused('missing-field', 'metrics', 'is missing (or a bare "value")');
  const metrics = parseMetrics(input.metrics ?? { value: input.value });
  return metrics.ok ? accepted({ ts, metrics: metrics.value }) : metrics;
}
