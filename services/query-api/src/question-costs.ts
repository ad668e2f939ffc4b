import { type Counter, Histogram, type Registry } from '@fleetwire/runtime/metrics';
import { tooManyRequests } from '@fleetwire/runtime/problem';
import type { Response } from 'express';
import { LRUCache } from 'lru-cache';
import type { Caller } from './caller.ts';

/** What a question costs, as estimated before it runs. */
export interface QuestionCost {
  readonly units: number;
  /** Cheap questions run on a pool of their own, which expensive ones cannot fill. */
  readonly class: 'cheap' | 'expensive';
  /** Where its numbers come from. */
  readonly source: 'raw' | '1m' | '1h' | 'mixed';
}

export interface QuestionCosts {
  /**
   * Takes the units of a question from the bucket of its caller, and says what is left in the answer's headers.
   * @throws {Problem} 429 when the bucket has too few, with the time until it has enough
   */
  charge(caller: Caller, response: Response, cost: QuestionCost): void;
}

interface CostsPerMinute {
  readonly queryCostPerMinute: number;
  readonly deviceQueryCostPerMinute: number;
}

interface Bucket {
  units: number;
  /** When `units` was true, epoch milliseconds. */
  at: number;
}

const minuteMs = 60_000;
/** Callers whose bucket is remembered; the bucket of another one is full. */
const callersMax = 100_000;
const unitBuckets = [10, 100, 1_000, 10_000, 20_000, 100_000, 500_000, 2_000_000, 10_000_000];
const secondBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** A token bucket for each caller, with the cost of questions as its unit: it holds what may be spent in a minute, and fills as fast. */
export function createQuestionCosts({
  limits,
  refused,
  registry,
  now,
}: {
  readonly limits: CostsPerMinute;
  readonly refused: Counter<'reason'>;
  readonly registry: Registry;
  readonly now: () => number;
}): QuestionCosts {
  const buckets = new LRUCache<string, Bucket>({ max: callersMax });
  const registers = [registry];
  const units = new Histogram({
    name: 'fleetwire_query_cost_units',
    help: 'Cost of questions in units, as estimated before they ran, by class (cheap, expensive) and by where their numbers come from',
    labelNames: ['class', 'source'] as const,
    buckets: unitBuckets,
    registers,
  });
  const seconds = new Histogram({
    name: 'fleetwire_query_seconds',
    help: 'Time from the estimate of a question to the end of its answer, by class (cheap, expensive)',
    labelNames: ['class'] as const,
    buckets: secondBuckets,
    registers,
  });

  const bucketOf = ({ role, sub }: Caller, unitsMax: number): Bucket => {
    const key = `${role} ${sub}`;
    const at = now();
    const known = buckets.get(key) ?? { units: unitsMax, at };
    known.units = Math.min(unitsMax, known.units + (Math.max(0, at - known.at) * unitsMax) / minuteMs);
    known.at = at;
    buckets.set(key, known);
    return known;
  };

  return {
    charge: (caller, response, cost) => {
      const isDevice = caller.role === 'device';
      const unitsMax = isDevice ? limits.deviceQueryCostPerMinute : limits.queryCostPerMinute;
      const bucket = bucketOf(caller, unitsMax);
      const isRefused = bucket.units < cost.units;
      if (!isRefused) bucket.units -= cost.units;
      const msUntil = (wanted: number): number => ((wanted - bucket.units) / unitsMax) * minuteMs;
      // draft-ietf-httpapi-ratelimit-headers-08, beside the policy of calls: rate-limits.ts.
      response.append('RateLimit-Policy', `"cost";q=${unitsMax};w=60`);
      response.append('RateLimit', `"cost";r=${Math.floor(bucket.units)};t=${Math.ceil(msUntil(unitsMax) / 1_000)}`);
      if (isRefused) {
        refused.inc({ reason: 'cost-per-minute' });
        const variable = isDevice ? 'DEVICE_QUERY_COST_PER_MINUTE' : 'QUERY_COST_PER_MINUTE';
        throw tooManyRequests(
          `The question costs ${cost.units} units, and ${Math.floor(bucket.units)} are left of ${unitsMax} a minute (${variable}); ` +
            'ask again after Retry-After, or a cheaper question: a shorter range, fewer devices or metrics',
          msUntil(cost.units),
          { limit: 'cost-per-minute', cost: { units: cost.units, left: Math.floor(bucket.units), limit: unitsMax } },
        );
      }
      units.observe({ class: cost.class, source: cost.source }, cost.units);
      const stop = seconds.startTimer({ class: cost.class });
      response.once('close', () => void stop());
    },
  };
}
