import { limits } from '@fleetwire/contracts/limits';
import type { Metrics } from '@fleetwire/contracts/metrics';
import { badRequest } from '@fleetwire/runtime/problem';
import Type from 'typebox';
import { Repeated } from './parameters.ts';

/** Readings in a page, if the caller does not say. */
export const pageLimit = 500;
const metricsMax = 50;
const MetricName = Type.String({ minLength: 1, maxLength: limits.metricNameCharactersMax });

/** Which metrics of readings are wanted. */
export const metricsParameters = {
  metrics: Type.Optional(
    Type.Array(MetricName, {
      minItems: 1,
      maxItems: metricsMax,
      description: 'Only these metrics, separated by commas; readings without any of them are left out',
    }),
  ),
  metric: Type.Optional(
    Repeated(MetricName, {
      maxItems: metricsMax,
      description: 'One name, which may contain commas; repeat the parameter for more',
    }),
  ),
};

/** By both parameters; undefined: all. */
export function namesOf({
  metrics,
  metric,
}: {
  readonly metrics?: readonly string[];
  readonly metric?: readonly string[];
}): readonly string[] | undefined {
  return metrics === undefined && metric === undefined ? undefined : [...(metrics ?? []), ...(metric ?? [])];
}

export const Numbers = Type.Enum(['json', 'text'], {
  default: 'json',
  description:
    '`text`: whole numbers beyond ±2^53 are texts with all digits of the stored double, for readers that round them',
});

/** The values as the caller wants their numbers. JSON has no −0: it is 0. */
export function spelled(metrics: Metrics, numbers: 'json' | 'text'): Metrics {
  if (numbers === 'json') return metrics;
  const entries = Object.entries(metrics).map(([name, value]) => [
    name,
    isBeyond(value) ? String(BigInt(value)) : value,
  ]);
  return Object.fromEntries(entries) as Metrics;
}

function isBeyond(value: unknown): value is number {
  return Number.isInteger(value) && !Number.isSafeInteger(value);
}

/** A stream has all readings as they are stored. @throws {Problem} 400 */
export function refusePageParameters({ limit, cursor, numbers, by, ingestedSince }: PageParameters): void {
  const given = {
    limit,
    cursor,
    numbers: numbers === 'text' || undefined,
    by: by === 'receivedAt' || undefined,
    ingestedSince,
  };
  const errors = Object.entries(given)
    .filter(([, value]) => value !== undefined)
    .map(([name]) => ({ field: `query.${name}`, detail: 'is for pages; a stream has all readings: leave it out' }));
  if (errors.length > 0) throw badRequest('Some parameters are not valid', errors);
}

interface PageParameters {
  readonly limit?: number;
  readonly cursor?: string;
  readonly numbers?: 'json' | 'text';
  readonly by?: 'ts' | 'receivedAt';
  readonly ingestedSince?: string;
}
