import { type FieldProblem, Problem } from '@fleetwire/runtime/problem';
import type { ReadCost } from '@fleetwire/store/series/plan-series';
import { numbersOf } from './aggregates.ts';
import { bucketCountOf, bucketsOf } from './buckets.ts';
import { commonIntervals, lengthMs } from './intervals.ts';
import { type Question, requestOf, type SeriesRequest } from './question.ts';

/** What one question of a caller may take. */
export interface SeriesLimits {
  readonly queryCostMax: number;
  readonly answerNumbersMax: number;
  /** Devices × metrics. */
  readonly seriesMax: number;
  readonly bucketsMax: number;
}

export interface Cost {
  readonly units: number;
  readonly limit: number;
  /** About how many readings are read, rows of rollups at most, and numbers answered at most. */
  readonly rawRows: number;
  readonly rollupRows: number;
  readonly numbers: number;
  readonly buckets: number;
}

const numbersPerUnit = 10;
const rollupRowsPerUnit = 5;
/** More expensive questions run on the pool for expensive ones, as all questions about many devices do. */
export const cheapCostMax = 20_000;

/** How large an answer is. */
export interface AnswerSize {
  /** Series of each metric. */
  readonly groups: number;
  /** Numbers of an answer that does not have all aggregates of all buckets. */
  readonly numbers?: number | undefined;
}

function answeredNumbers(
  { metrics, aggregates, offset, chosenMax }: Question,
  { groups, numbers }: AnswerSize,
  buckets: number,
): number {
  if (numbers !== undefined) return numbers;
  if (chosenMax !== undefined) return 2 * metrics.length * groups * chosenMax;
  const ofBucket = aggregates.reduce((sum, one) => sum + numbersOf(one), 0);
  return metrics.length * groups * buckets * ofBucket * (offset === undefined ? 1 : 2);
}

export function costOf(question: Question, size: AnswerSize, { rawRows, rollupRows }: ReadCost, limit: number): Cost {
  const buckets = bucketCountOf(question);
  const numbers = answeredNumbers(question, size, buckets);
  const units = rawRows + Math.ceil(rollupRows / rollupRowsPerUnit) + Math.ceil(numbers / numbersPerUnit);
  return { units, limit, rawRows, rollupRows, numbers, buckets };
}

/** Where the members of a question stand, and how another one is asked in the same way: `{ href }` or `{ body }`. */
export interface Asked {
  readonly place: 'query' | 'body';
  readonly link: (request: SeriesRequest) => object;
}

export interface Refusal {
  readonly size: AnswerSize;
  readonly limits: SeriesLimits;
  readonly asked: Asked;
  /** What a question about the same devices reads. */
  readonly readCost: (question: Question) => Promise<ReadCost>;
}

/**
 * The refusal of a question with too many buckets or numbers, or that costs too much, with the nearest question that is allowed: with a
 * coarser interval, else with a later `from`; devices, metrics and aggregates stay.
 */
export async function refusalOf(question: Question, cost: Cost, refusal: Refusal): Promise<Problem | undefined> {
  const { limits, asked } = refusal;
  const detail = excessOf(cost, limits);
  if (detail === undefined) return undefined;
  const isAllowed = (one: Cost) => excessOf(one, limits) === undefined;
  const withInterval = await coarser(question, cost, { ...refusal, isAllowed });
  if (withInterval !== undefined) {
    const allowed = `is ${question.interval!.text}; ${withInterval.interval!.text} is allowed`;
    return tooExpensive(detail, asked, {
      cost,
      errors: [{ field: `${asked.place}.interval`, detail: allowed }],
      nearest: { changed: ['interval'], question: withInterval },
    });
  }
  const later = await withLaterFrom(question, cost, { ...refusal, isAllowed });
  if (later === undefined)
    return tooExpensive(detail, asked, {
      cost,
      errors: [
        {
          field: `${asked.place}.metrics`,
          detail: 'ask for fewer metrics, aggregates or devices: no shorter range is allowed',
        },
      ],
    });
  const length = (from: number) => inWords(question.range.to - from);
  const allowed = `is ${length(question.range.from)} before to; at this cost ${length(later.range.from)} are allowed`;
  return tooExpensive(detail, asked, {
    cost,
    errors: [{ field: `${asked.place}.from`, detail: allowed }],
    nearest: { changed: ['from'], question: later },
  });
}

/** Which limit is exceeded; undefined where none is. */
function excessOf(cost: Cost, { queryCostMax, answerNumbersMax, bucketsMax }: SeriesLimits): string | undefined {
  const { buckets, numbers, rawRows, rollupRows, units } = cost;
  if (buckets > bucketsMax)
    return `The answer would have about ${buckets} buckets; at most ${bucketsMax} are allowed (BUCKETS_MAX)`;
  if (numbers > answerNumbersMax)
    return `The answer would have up to ${numbers} numbers; at most ${answerNumbersMax} are allowed (ANSWER_NUMBERS_MAX)`;
  if (units <= queryCostMax) return undefined;
  const rolledUp = rollupRows === 0 ? '' : ` and ${rollupRows} rows of rollups`;
  return `The question needs about ${rawRows} readings${rolledUp} and costs ${units} units; one question may cost ${queryCostMax} units (QUERY_COST_MAX)`;
}

const attemptsMax = 6;

interface Search extends Refusal {
  readonly isAllowed: (cost: Cost) => boolean;
}

async function withLaterFrom(
  question: Question,
  cost: Cost,
  { size, limits, readCost, isAllowed }: Search,
): Promise<Question | undefined> {
  const { from, to } = question.range;
  let share =
    0.98 * Math.min(cost.limit / cost.units, limits.answerNumbersMax / cost.numbers, limits.bucketsMax / cost.buckets);
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const later = beginningAt({ ...question, range: { from: Math.ceil(to - (to - from) * share), to } });
    if (later === undefined) return undefined;
    const next = costOf(later, size, await readCost(later), cost.limit);
    if (isAllowed(next)) return later;
    share *= 0.9 * Math.min(0.9, cost.limit / next.units);
  }
  return undefined;
}

/** With `from` at the start of a whole bucket; undefined where no whole one is left. */
function beginningAt(question: Question): Question | undefined {
  const { range, interval } = question;
  if (interval === undefined) return range.from < range.to ? question : undefined;
  const first = bucketsOf({ ...question, fill: 'null' })[0]!;
  const from = first.start < range.from ? first.end : range.from;
  return from < range.to ? { ...question, range: { ...range, from } } : undefined;
}

/** A coarser interval makes an answer smaller, and may be answered from rollups. */
async function coarser(
  question: Question,
  cost: Cost,
  { size, readCost, isAllowed }: Search,
): Promise<Question | undefined> {
  const { interval } = question;
  if (interval === undefined) return undefined;
  for (const one of commonIntervals) {
    const candidate = { ...question, interval: one };
    if (lengthMs(one) <= lengthMs(interval) || !isAllowed(costOf(candidate, size, nothing, cost.limit))) continue;
    if (isAllowed(costOf(candidate, size, cost, cost.limit))) return candidate;
    if (isAllowed(costOf(candidate, size, await readCost(candidate), cost.limit))) return candidate;
  }
  return undefined;
}

const nothing: ReadCost = { rawRows: 0, rollupRows: 0 };

interface Nearest {
  readonly changed: readonly string[];
  readonly question: Question;
}

function tooExpensive(
  detail: string,
  { link }: Asked,
  of: { readonly errors: readonly FieldProblem[]; readonly cost?: Cost; readonly nearest?: Nearest | undefined },
): Problem {
  const { errors, cost, nearest } = of;
  const extensions = {
    ...(cost && { cost }),
    ...(nearest && { nearest: { changed: nearest.changed, ...link(requestOf(nearest.question)) } }),
  };
  return new Problem(422, 'Too expensive', { detail, errors, extensions });
}

function inWords(ms: number): string {
  const units = [
    [86_400_000, 'days'],
    [3_600_000, 'hours'],
    [60_000, 'minutes'],
  ] as const;
  const [length, name] = units.find(([one]) => ms >= 2 * one) ?? [1_000, 'seconds'];
  return `${Math.floor(ms / length)} ${name}`;
}
