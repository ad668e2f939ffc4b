import type { components } from '@fleetwire/client/openapi';
import type { Failure } from '../../api.ts';
import { type ChartData, type ChartSeries, seriesMax } from '../../chart/chart-model.ts';
import { count, duration, plural } from '../../format.ts';
import { dayAndYear, moment } from '../../times.ts';
import { type Question, lengthText, listOf, questionOfHref } from './question.ts';

export type SeriesAnswer = components['schemas']['SeriesAnswer'];
type Series = components['schemas']['Series'];

/** One array of an answer: an aggregate of a metric of a device or group, with the same of the time before. */
export interface Line {
  readonly id: string;
  readonly label: string;
  readonly metric: string;
  readonly agg: string;
  readonly unit: string;
  readonly values: readonly unknown[];
  readonly before: readonly unknown[] | undefined;
}

/** All arrays of an answer, in its order. A label has only what tells lines apart. */
export function linesOf({ series = [] }: SeriesAnswer, question: Question, unitOf: (metric: string) => string): Line[] {
  const aggregates = listOf(question.agg);
  const metrics = new Set(series.map(({ metric }) => metric));
  const names = new Set(series.map(nameOf));
  return series.flatMap((one) =>
    aggregates.flatMap((agg) => {
      const values = one[agg];
      if (!Array.isArray(values)) return [];
      const name = nameOf(one);
      const parts = [
        names.size > 1 || metrics.size === 1 ? name : '',
        metrics.size > 1 ? one.metric : '',
        aggregates.length > 1 ? agg : '',
      ].filter(Boolean);
      return {
        id: [name, one.metric, agg].filter(Boolean).join(' '),
        label: parts.length === 0 ? one.metric : parts.join(' '),
        metric: one.metric,
        agg,
        unit: agg === 'count' || agg === 'distinct' ? '' : unitOf(one.metric),
        values,
        before: Array.isArray(one.before?.[agg]) ? (one.before[agg] as unknown[]) : undefined,
      };
    }),
  );
}

function nameOf({ deviceId, group }: Series): string {
  if (deviceId !== undefined) return deviceId;
  const values = Object.values(group ?? {});
  return values.length === 0 ? '' : values.map((value) => value ?? 'without').join(' ');
}

interface Drawing {
  readonly data: ChartData;
  /** Series that are drawn, of how many. */
  readonly drawn: number;
  readonly of: number;
}

/**
 * What the chart shows: the eight lines with the largest spread. Counts are in the table, unless nothing else was asked for; `min` and
 * `max` of an average are the area around it.
 */
export function drawingOf(answer: SeriesAnswer, lines: readonly Line[], bucketMs: number | undefined): Drawing {
  const numeric = lines.filter(({ values }) => values.some((value) => typeof value === 'number'));
  const wanted = numeric.filter(({ agg }) => agg !== 'count' || numeric.every((line) => line.agg === 'count'));
  const has = (line: Line, agg: string) =>
    wanted.find((one) => one.agg === agg && one.id === line.id.replace(/\S+$/, agg));
  const around = (line: Line) => {
    if (line.agg !== 'avg' && line.agg !== 'twavg') return undefined;
    const low = has(line, 'min');
    const high = has(line, 'max');
    return low === undefined || high === undefined ? undefined : { low, high };
  };
  const taken = new Set(wanted.flatMap((line) => Object.values(around(line) ?? {})));
  const candidates = wanted.filter((line) => !taken.has(line));
  const chosen = new Set(candidates.toSorted((a, b) => spread(b) - spread(a)).slice(0, seriesMax));
  let slot = 0;
  const series = candidates
    .filter((line) => chosen.has(line))
    .flatMap((line): ChartSeries[] => {
      const area = around(line);
      const own: ChartSeries = {
        id: line.id,
        label: line.label,
        unit: line.unit,
        slot: slot++,
        values: numbers(line.values),
        ...(area !== undefined && { min: numbers(area.low.values), max: numbers(area.high.values) }),
      };
      return line.before === undefined
        ? [own]
        : [
            own,
            {
              id: `${line.id} before`,
              label: `${line.label} before`,
              unit: line.unit,
              slot: own.slot,
              values: numbers(line.before),
              faint: true,
            },
          ];
    });
  return { data: { t: answer.t ?? [], series, bucketMs }, drawn: chosen.size, of: candidates.length };
}

const numbers = (values: readonly unknown[]) => values.map((value) => (typeof value === 'number' ? value : null));

function spread({ values }: Line): number {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (typeof value !== 'number') continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high - low;
}

/** The length of a bucket, where all have the same one. */
export function bucketMsOf(t: readonly number[] | undefined): number | undefined {
  return t === undefined || t.length < 2 ? undefined : t[1]! - t[0]!;
}

/** Which buckets are not whole, and why: `running`, `bucket-cut`, `incomplete`, `raw-expired`. */
export function partialAt({ covers }: SeriesAnswer, at: number, bucketMs: number | undefined): string | undefined {
  const end = at + (bucketMs ?? 1);
  return covers.partial.find(({ from, to }) => Date.parse(from) < end && Date.parse(to) > at)?.why;
}

/** How the question was answered: `96 buckets × 2 groups in 38 ms · from rollups of minutes · complete until 14:30:51 · cost 1,204 of 2,000,000`. */
export function answeredText(answer: SeriesAnswer, groupBy: string | undefined, now: number): string[] {
  const { covers, cost, series = [], t = [], interval, resolution } = answer;
  const noun = groupBy === 'device' || groupBy === undefined ? 'device' : 'group';
  const groups = new Set(series.map(nameOf)).size;
  return [
    `${plural(t.length, 'bucket')}${interval === null ? '' : ` of ${lengthText(interval)}`} × ${plural(groups, noun)} in ${cost.ms < 1_000 ? `${Math.max(1, Math.round(cost.ms))} ms` : duration(cost.ms)}`,
    sourceText(covers),
    ...(resolution === 'raw'
      ? []
      : [`only rollups of ${resolution === '1h' ? 'hours' : 'minutes'} are left of the range`]),
    covers.completeUntil === null
      ? 'completeness not known'
      : `complete until ${moment(Math.min(Date.parse(covers.completeUntil), Date.parse(covers.to)), now)}`,
    ...(covers.replicaLagMs === undefined ? [] : [`from a replica, at most ${duration(covers.replicaLagMs)} behind`]),
    ...(answer.stale === true && answer.asOf !== undefined
      ? [`the database is away: answer of ${moment(answer.asOf, now)}`]
      : []),
    `cost ${count(cost.units)} of ${count(cost.limit)}`,
  ];
}

function sourceText({ source, tilesRaw, tilesRolledUp }: SeriesAnswer['covers']): string {
  switch (source) {
    case 'raw':
      return 'from stored readings';
    case '1h':
      return 'from rollups of hours';
    case '1m':
      return 'from rollups of minutes';
    case 'mixed':
      return `from rollups, ${count(tilesRaw)} of ${count(tilesRaw + tilesRolledUp)} hours from readings`;
  }
}

/** What the answer leaves out, in words. */
export function leftOutText({ covers }: SeriesAnswer): string {
  const unknown = covers.unknown.map((one) => ('deviceId' in one ? `device ${one.deviceId}` : `metric ${one.metric}`));
  const texts = Object.entries(covers.notNumeric).map(
    ([metric, values]) => `${plural(values, 'value')} of ${metric} that are not numbers`,
  );
  return [
    unknown.length === 0
      ? ''
      : `Never seen: ${unknown.slice(0, 5).join(', ')}${unknown.length > 5 ? ` and ${unknown.length - 5} more` : ''}.`,
    texts.length === 0 ? '' : `Left out: ${texts.join(', ')}.`,
  ]
    .filter(Boolean)
    .join(' ');
}

export interface TooDear {
  readonly text: string;
  /** The nearest question that is allowed, and what the button says. */
  readonly nearest: { readonly question: Question; readonly label: string } | undefined;
}

interface CostProblem {
  readonly type?: string;
  readonly detail?: string;
  readonly cost?: { readonly units: number; readonly limit: number };
  readonly nearest?: { readonly changed: readonly string[]; readonly href: string };
}

/** A question that is refused because of its cost. Undefined for other failures. */
export function tooDear(failure: Failure | undefined): TooDear | undefined {
  const problem: CostProblem | undefined = failure?.problem;
  if (problem?.type !== 'urn:fleetwire:problem:too-expensive') return undefined;
  const { cost, nearest } = problem;
  const text =
    cost === undefined
      ? (problem.detail ?? '')
      : `It costs about ${count(cost.units)} units; one question may cost ${count(cost.limit)}.`;
  if (nearest === undefined) return { text, nearest: undefined };
  const question = questionOfHref(nearest.href);
  return { text, nearest: { question, label: nearestLabel(question, nearest.changed) } };
}

function nearestLabel({ interval, from, to }: Question, what: readonly string[]): string {
  if (what.includes('interval') && interval !== undefined) return `Ask every ${lengthText(interval)} instead`;
  if (what.includes('from') && from !== undefined) {
    const start = Date.parse(from);
    const end = Date.parse(to ?? '');
    if (!Number.isNaN(start) && !Number.isNaN(end)) return `Ask for the last ${duration(end - start)} instead`;
    return `Ask from ${Number.isNaN(start) ? from : dayAndYear(start)} instead`;
  }
  return 'Ask what is allowed instead';
}
