import { notFound, Problem, unprocessable } from '@fleetwire/runtime/problem';
import { onConnection } from '@fleetwire/store/cancellable';
import type { Database } from '@fleetwire/store/database';
import { type Completeness, readCompleteness } from '@fleetwire/store/positions/read-positions';
import { knownMetrics } from '@fleetwire/store/series/known-metrics';
import type { StoreClient } from '@fleetwire/store/series/plan-series';
import { inSnapshot, isNumberTooLarge, readPlanned } from '@fleetwire/store/series/read-series';
import { type SelectedDevice, selectDevices } from '@fleetwire/store/series/select-devices';
import { readCatalog, type SeriesCatalog } from '@fleetwire/store/series/series-catalog';
import type { SeriesRow, SeriesSource } from '@fleetwire/store/series/series-query';
import { together } from '@fleetwire/store/together';
import type { QuestionCost } from '../question-costs.ts';
import type { ApiContext } from '../route.ts';
import { isoTime } from '../time-range.ts';
import { NumberTooLargeError } from './aggregates.ts';
import { layOut, notNumericOf } from './answer.ts';
import { type Bucket, bucketsOf, partialOf } from './buckets.ts';
import { type Asked, cheapCostMax, type Cost, costOf, refusalOf, type SeriesLimits } from './cost.ts';
import { type Grouping, groupDevices } from './groups.ts';
import { isStillKnown, type Known, lastKnown, rememberKnown } from './last-known.ts';
import { planReads, type ReadPlan } from './plan-reads.ts';
import type { Question } from './question.ts';

/** Devices that one question may select. */
export const devicesMax = 10_000;
const bytesPerNumber = 12;

export interface Call {
  readonly asked: Asked;
  readonly limits: SeriesLimits;
  readonly now: number;
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal;
  /** @throws {Problem} 429 */
  readonly charge: (cost: QuestionCost) => void;
  readonly pageBytes: { readonly onBytes: (bytes: number) => void };
}

export type Databases = Pick<ApiContext, 'history' | 'scans'>;

/** What is known before the values are read. */
export interface Plan {
  readonly completeness: Completeness;
  readonly devices: readonly SelectedDevice[];
  readonly grouping: Grouping;
  readonly buckets: readonly Bucket[];
  readonly cost: Cost;
}

/** The transaction in which a question is planned and its values are read. */
export interface Reading {
  readonly database: Database;
  readonly client: StoreClient;
  readonly catalog: SeriesCatalog;
  readonly plan: Plan;
  readonly reads: ReadPlan;
}

export interface Asking<T> {
  /** That the answer has, where it does not have all aggregates of all buckets. */
  readonly numbers?: number | undefined;
  /** It runs on the pool of expensive questions, whatever it costs, and reads all readings. */
  readonly isHeavy?: boolean;
  readonly read: (reading: Reading) => Promise<T>;
}

/** Estimates the cost, refuses what costs too much, reads and answers. @throws {Problem} */
export async function askSeries(question: Question, call: Call, api: Databases) {
  return inDoubles(call.asked, async () => {
    const found = await findSeries(question, call, api);
    const { plan, read: rows, known } = found;
    const { grouping, buckets, devices } = plan;
    const listedEmpty = devices.length === 1 ? known : new Set<string>();
    return {
      interval: question.interval?.text ?? null,
      tz: question.timeZone,
      resolution: found.resolution,
      ...layOut({
        question,
        buckets,
        groups: grouping.groups,
        rows: rows.now.rows,
        before: rows.before,
        listedEmpty,
        place: call.asked.place,
      }),
      covers: found.covers,
      cost: found.cost,
    };
  });
}

/** @throws {Problem} 422 where a number of the answer is beyond the range of a double */
export async function inDoubles<T>(asked: Asked, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof NumberTooLargeError || isNumberTooLarge(error) ? beyondDouble(asked) : error;
  }
}

/**
 * Plans a question and reads its values in one transaction, so both are of one snapshot. One device is asked for on the pool of cheap
 * questions, and again on that of expensive ones where it costs too much.
 * @throws {Problem}
 */
export async function planAndRead<T>(
  question: Question,
  call: Call,
  api: Databases,
  asking: Asking<T>,
): Promise<{ readonly plan: Plan; readonly found: T }> {
  const { signal } = call;
  // Where planning is held up by a question about many devices, cheap ones do not wait for its connection.
  const isOfOne = asking.isHeavy !== true && question.selection.devices?.length === 1;
  const first = isOfOne
    ? await api.history.run(attempt<T>, { question, call, asking, unitsMax: cheapCostMax, signal })
    : undefined;
  const answer =
    first ?? (await api.scans.run(attempt<T>, { question, call, asking, unitsMax: Number.POSITIVE_INFINITY, signal }));
  if (answer === undefined) throw new Error('a question without a limit has no answer');
  if ('refusal' in answer) throw answer.refusal;
  return answer;
}

interface Attempt<T> {
  readonly question: Question;
  readonly call: Call;
  readonly asking: Asking<T>;
  readonly unitsMax: number;
  readonly signal?: AbortSignal;
}

/** @returns undefined where it costs more than `unitsMax`; a refusal leaves the connection in order */
async function attempt<T>(database: Database, { question, call, asking, unitsMax, signal }: Attempt<T>) {
  const guess = lastKnown(database, question);
  return onConnection(database.pool, signal, (client) => {
    const planWith = (known: Known) => unlessRefused(() => costPlan(client, { question, call, asking, ...known }));
    return inSnapshot(
      client,
      () =>
        together(
          readCompleteness(client),
          selectDevices(database, client, question.selection, devicesMax + 1),
          readCatalog(client, question),
          guess === undefined ? Promise.resolve(undefined) : planWith(guess),
        ),
      async ([completeness, devices, catalog, guessed]) => {
        const known = { devices, catalog };
        const isGuessed = guess !== undefined && guessed !== undefined && isStillKnown(guess, known);
        const planned = isGuessed ? guessed : await planWith(known);
        if (!isGuessed) rememberKnown(database, question, known);
        if ('refusal' in planned) return planned;
        const { reads, ...costs } = planned;
        const plan = { completeness, devices, ...costs };
        const { cost } = plan;
        if (cost.units > unitsMax) return undefined;
        const isCheap = asking.isHeavy !== true && devices.length === 1 && cost.units <= cheapCostMax;
        const source = asking.isHeavy === true ? 'raw' : sourceOf(cost);
        return unlessRefused(async () => {
          call.charge({ units: cost.units, class: isCheap ? 'cheap' : 'expensive', source });
          return { plan, found: await asking.read({ database, client, catalog, plan, reads }) };
        });
      },
    );
  });
}

async function unlessRefused<T>(work: () => Promise<T>): Promise<T | { readonly refusal: Problem }> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Problem) return { refusal: error };
    throw error;
  }
}

interface Planning<T> extends Pick<Attempt<T>, 'question' | 'call' | 'asking'>, Known {}

/** @throws {Problem} where it costs too much */
async function costPlan<T>(
  client: StoreClient,
  { question, call, asking: { numbers }, devices, catalog }: Planning<T>,
) {
  const { limits, asked } = call;
  refuseDevices(question, devices.length, call);
  const grouping = groupDevices(devices, question.groupBy);
  const deviceKeys = devices.map(({ deviceKey }) => deviceKey);
  const of = { deviceKeys, groups: grouping.ofDevices, catalog, limits };
  const reads = await planReads(client, question, of);
  const size = { groups: grouping.groups.length, numbers };
  const cost = costOf(question, size, reads.cost, limits.queryCostMax);
  const readCost = async (one: Question) => (await planReads(client, one, of)).cost;
  const refusal = await refusalOf(question, cost, { size, limits, asked, readCost });
  if (refusal !== undefined) throw refusal;
  return { grouping, buckets: reads.now?.buckets ?? bucketsOf(question), cost, reads };
}

export interface Finding {
  /** That the answer has, where it does not have all aggregates of all buckets. */
  readonly numbers?: number;
  /** Reads more in the same snapshot. */
  readonly more?: (rows: readonly SeriesRow[], reading: Reading) => Promise<readonly SeriesRow[]>;
}

export async function findSeries(question: Question, call: Call, api: Databases, { numbers, more }: Finding = {}) {
  const startedAt = performance.now();
  const { plan, found } = await planAndRead(question, call, api, {
    numbers,
    read: async (reading) => {
      const values = await readValues(reading);
      return { ...values, more: await more?.(values.now.rows, reading) };
    },
  });
  const { devices, buckets, cost } = plan;
  const { now, before, known, seen } = found;

  const unknownMetrics = question.metrics.filter((name, index) => !seen.has(index) && !known.has(name));
  refuseUnknownMetric(question, devices, unknownMetrics.length === 0);
  call.pageBytes.onBytes((now.rows.length + (before?.rows.length ?? 0)) * question.aggregates.length * bytesPerNumber);
  const inRange = buckets[0]!.isBefore
    ? now.rows.filter(({ bucket }) => buckets[bucket]?.isBefore === false)
    : now.rows;
  return {
    plan,
    read: { now, before, more: found.more },
    /** Metrics without a value in the range that a device sent. */
    known,
    resolution: now.resolution,
    covers: {
      ...coversOf(question, { plan, now: call.now, unknownMetrics, source: now }),
      notNumeric: notNumericOf(question, inRange),
      values: inRange.reduce((sum, { count }) => sum + count, 0),
    },
    cost: { units: cost.units, limit: cost.limit, ms: Math.round((performance.now() - startedAt) * 10) / 10 },
  };
}

async function readValues({ database, client, plan, reads }: Reading) {
  const { query, plan: chosen } = reads.now!;
  const now = await readPlanned(database, client, query, chosen);
  const before = reads.before && {
    ...(await readPlanned(database, client, reads.before.query, reads.before.plan)),
    buckets: reads.before.buckets,
  };
  /** Metrics that have a value. */
  const seen = new Set<number>();
  for (const { metric } of now.rows) seen.add(metric);
  for (const { metric } of before?.rows ?? []) seen.add(metric);
  const metrics = query.metrics.filter((_, index) => !seen.has(index));
  const deviceKeys = plan.devices.map(({ deviceKey }) => deviceKey);
  const known = metrics.length === 0 ? new Set<string>() : await knownMetrics(client, { deviceKeys, metrics });
  return { now, before, known, seen };
}

/** As estimated before anything is read. */
function sourceOf({ rawRows, rollupRows }: Cost): QuestionCost['source'] {
  if (rollupRows === 0) return 'raw';
  return rawRows === 0 ? '1h' : 'mixed';
}

/** @throws {Problem} 404 where the only metric of the question is unknown */
export function refuseUnknownMetric({ metrics }: Question, devices: readonly SelectedDevice[], isKnown: boolean): void {
  if (metrics.length === 1 && !isKnown && devices.length > 0)
    throw notFound(`No device of the question has the metric ${JSON.stringify(metrics[0])}`);
}

interface Covered {
  readonly plan: Plan;
  readonly now: number;
  readonly unknownMetrics: readonly string[];
  readonly source: SeriesSource;
}

export function coversOf(question: Question, { plan, now, unknownMetrics, source }: Covered) {
  const { devices, buckets, completeness } = plan;
  const found = new Set(devices.map(({ deviceId }) => deviceId));
  const unknownDevices = (question.selection.devices ?? []).filter((id) => !found.has(id) && isNamedAlone(question));
  return {
    from: isoTime(question.range.from),
    to: isoTime(question.range.to),
    ...completenessOf(completeness),
    source: source.source,
    tilesRolledUp: source.tilesRolledUp,
    tilesRaw: source.tilesRaw,
    partial: partialOf(question, buckets, { now, completeUntil: completeness.completeUntil, missing: source.missing }),
    unknown: [...unknownDevices.map((deviceId) => ({ deviceId })), ...unknownMetrics.map((metric) => ({ metric }))],
    devices: devices.length,
  };
}

/** @throws {Problem} 404 where the only device is unknown, 422 where there are too many */
function refuseDevices({ selection, metrics }: Question, count: number, { asked, limits }: Call): void {
  const field = `${asked.place}.${(['devices', 'pattern', 'tag', 'type'] as const).find((name) => selection[name] !== undefined)}`;
  if (count === 0 && selection.devices?.length === 1) throw notFound(`Device ${selection.devices[0]} is unknown`);
  if (count > devicesMax)
    throw unprocessable('The question selects too many devices', [
      { field, detail: `selects more than ${devicesMax} devices (SERIES_DEVICES_MAX); narrow it, or ask in parts` },
    ]);
  if (count * metrics.length > limits.seriesMax)
    throw unprocessable('The question selects too many series', [
      {
        field,
        detail: `selects ${count} devices, with ${metrics.length} metrics ${count * metrics.length} series; at most ${limits.seriesMax} (SERIES_MAX)`,
      },
    ]);
}

function beyondDouble({ place }: Asked) {
  return unprocessable('A number of the answer is beyond the range of a double', [
    {
      field: `${place}.agg`,
      detail:
        'has a sum, a deviation or a difference beyond ±1.8e308 for these values; ask for count, min, max, first or last, or leave values out with where',
    },
  ]);
}

/** With a pattern, tag or type as well, a device that is not among them may exist. */
function isNamedAlone({ selection: { pattern, tag, type } }: Question): boolean {
  return pattern === undefined && tag === undefined && type === undefined;
}

export function completenessOf({ completeUntil, silentEdges }: Completeness) {
  if (completeUntil !== null) return { completeUntil: isoTime(completeUntil) };
  const completeWhy =
    silentEdges === null
      ? { reason: 'no-edge-known' as const }
      : { reason: 'edges-silent' as const, edges: silentEdges };
  return { completeUntil: null, completeWhy };
}
