import { estimateReadings } from '@fleetwire/store/series/estimate-readings';
import { planWithCost, type ReadCost, type SeriesPlan, type StoreClient } from '@fleetwire/store/series/plan-series';
import type { SeriesCatalog } from '@fleetwire/store/series/series-catalog';
import type { Aggregate, SeriesQuery } from '@fleetwire/store/series/series-query';
import { type Bucket, bucketCountOf, bucketsEarlier, bucketsOf, msBefore } from './buckets.ts';
import type { SeriesLimits } from './cost.ts';
import type { Question } from './question.ts';

/** More buckets, unless they are allowed, are not made for an estimate: the question is refused. */
const bucketsMadeMax = 100_000;

/** What the store reads for a question about these devices. */
function seriesQueryOf(question: Question, of: Pick<SeriesQuery, 'deviceKeys' | 'buckets' | 'groups'>): SeriesQuery {
  const { aggregates, metrics, where } = question;
  return {
    ...of,
    metrics,
    where,
    aggregates: new Set(aggregates.filter(({ kind }) => kind !== 'percentile').map(({ kind }) => kind as Aggregate)),
    percentiles: aggregates.filter(({ kind }) => kind === 'percentile').map(({ fraction }) => fraction),
  };
}

/** What a question reads in the snapshot of its transaction, and what that costs. */
export interface ReadPlan {
  readonly cost: ReadCost;
  /** Undefined where the question has too many buckets. */
  readonly now?: PlannedQuery;
  /** Of the time that it is compared with. */
  readonly before?: PlannedQuery;
}

interface PlannedQuery {
  readonly buckets: readonly Bucket[];
  readonly query: SeriesQuery;
  readonly plan: SeriesPlan;
}

interface Planned extends Pick<SeriesQuery, 'deviceKeys' | 'groups'> {
  readonly catalog: SeriesCatalog;
  readonly limits: Pick<SeriesLimits, 'queryCostMax' | 'bucketsMax'>;
}

/** About how many rows a question about these devices reads; those of the time that it is compared with count, too. */
export async function planReads(
  client: StoreClient,
  question: Question,
  { deviceKeys, groups, catalog, limits }: Planned,
): Promise<ReadPlan> {
  const countedMax = limits.queryCostMax;
  if (bucketCountOf(question) > Math.max(bucketsMadeMax, limits.bucketsMax)) {
    const from = Math.max(0, question.range.from - msBefore(question));
    const rawRows =
      deviceKeys.length === 0
        ? 0
        : await estimateReadings(client, { deviceKeys, from, to: question.range.to }, countedMax);
    return { cost: { rawRows, rollupRows: 0 } };
  }
  const buckets = bucketsOf(question);
  const plannedIn = async (those: readonly Bucket[]) => {
    const query = seriesQueryOf(question, { deviceKeys, buckets: those, groups });
    return { buckets: those, query, plan: await planWithCost(client, catalog, query, countedMax) };
  };
  const now = await plannedIn(buckets);
  if (question.offset === undefined) return { cost: now.plan.cost, now };
  const earlier = bucketsEarlier(buckets, question.offset, question.timeZone);
  const before = await plannedIn(earlier);
  const cost = {
    rawRows: now.plan.cost.rawRows + before.plan.cost.rawRows,
    rollupRows: now.plan.cost.rollupRows + before.plan.cost.rollupRows,
  };
  return { cost, now, before };
}
