import { limits } from '@fleetwire/contracts/limits';
import { badRequest, type FieldProblem } from '@fleetwire/runtime/problem';
import type { DeviceSelection } from '@fleetwire/store/series/select-devices';
import type { ValueFilter } from '@fleetwire/store/series/series-query';
import { instantForms, isoTime, parseInstant, type TimeRange } from '../time-range.ts';
import { aggregateForms, type AskedAggregate, mayBeLine, parseAggregate } from './aggregates.ts';
import {
  type Interval,
  intervalFor,
  intervalForms,
  isTimeZone,
  offsetForms,
  parseInterval,
  parseOffset,
  startOfDate,
} from './intervals.ts';

export const fills = ['null', 'none', 'locf', 'linear'] as const;
export const layouts = ['columns', 'rows'] as const;

/** A question as it is asked, by URL or body; each spelling has a schema that says what it may contain. */
export interface SeriesRequest extends DeviceSelection {
  readonly metrics?: readonly string[] | undefined;
  /** Single names, which may contain commas. */
  readonly metric?: readonly string[] | undefined;
  readonly agg?: readonly string[] | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly interval?: string | undefined;
  readonly maxPoints?: number | undefined;
  readonly tz?: string | undefined;
  readonly fill?: (typeof fills)[number] | undefined;
  readonly fillMaxMs?: number | undefined;
  readonly groupBy?: string | undefined;
  readonly where?: readonly string[] | undefined;
  readonly offset?: string | undefined;
  readonly downsample?: 'lttb' | undefined;
  readonly layout?: (typeof layouts)[number] | undefined;
}

export interface Question {
  readonly selection: DeviceSelection;
  readonly metrics: readonly string[];
  readonly aggregates: readonly AskedAggregate[];
  readonly range: TimeRange;
  /** Undefined: one bucket, the whole range. */
  readonly interval: Interval | undefined;
  readonly timeZone: string;
  readonly fill: (typeof fills)[number];
  readonly fillMaxMs: number | undefined;
  readonly groupBy: GroupBy;
  readonly where: readonly ValueFilter[];
  /** The same is asked so much earlier. */
  readonly offset: Interval | undefined;
  /** So many chosen values are answered instead of aggregates of buckets. */
  readonly chosenMax: number | undefined;
  readonly layout: (typeof layouts)[number];
}

export type GroupBy = 'device' | 'type' | 'none' | { readonly tag: string };

export const questionLimits = Object.freeze({ metricsMax: 50, aggregatesMax: 12, filtersMax: 10 });

const dayMs = 86_400_000;

/**
 * Reads a question, and names everything that is wrong with it.
 * @param where the place of its members: `query` or `body`
 * @throws {Problem} 400
 */
export function readQuestion(request: SeriesRequest, where: 'query' | 'body', now: number): Question {
  const errors: FieldProblem[] = [];
  const refuse = (name: string, detail: string) => void errors.push({ field: `${where}.${name}`, detail });
  const given = (value: unknown) => JSON.stringify(value)?.slice(0, 100);

  const timeZone = request.tz ?? 'UTC';
  const isKnownZone = isTimeZone(timeZone);
  if (!isKnownZone)
    refuse('tz', `is ${given(timeZone)}; expected the name of an IANA time zone, such as Europe/Berlin`);

  const metrics = [...new Set([...(request.metrics ?? []), ...(request.metric ?? [])])];
  if (metrics.length === 0)
    refuse('metrics', 'is missing; expected names separated by commas, or one name with metric=');
  if (metrics.length > questionLimits.metricsMax)
    refuse(
      'metrics',
      `has ${metrics.length} names together with metric; at most ${questionLimits.metricsMax} are allowed`,
    );

  const names = [...new Set(request.agg ?? ['avg'])];
  const aggregates = names.map(parseAggregate);
  for (const [index, aggregate] of aggregates.entries())
    if (aggregate === undefined) refuse('agg', `has ${given(names[index])}; expected ${aggregateForms}`);
  if (names.length > questionLimits.aggregatesMax)
    refuse('agg', `has ${names.length} names; at most ${questionLimits.aggregatesMax} are allowed`);

  const filters = (request.where ?? []).map(parseFilter);
  for (const [index, filter] of filters.entries())
    if (filter === undefined)
      refuse(
        'where',
        `has ${given(request.where?.[index])}; expected a metric, one of < <= > >= = != and a finite number: temperature>=5`,
      );

  const zone = isKnownZone ? timeZone : 'UTC';
  const from = readTime(request.from ?? 'now-24h', now, zone);
  const to = readTime(request.to ?? 'now', now, zone);
  if (from === undefined) refuse('from', `is ${given(request.from)}; expected ${instantForms}, or a date`);
  if (to === undefined) refuse('to', `is ${given(request.to)}; expected ${instantForms}, or a date`);
  if (from !== undefined && to !== undefined && from >= to)
    refuse('from', `is ${isoTime(from)}; it must be before to, which is ${isoTime(to)}`);

  const groupBy = readGroupBy(request.groupBy ?? 'device');
  if (groupBy === undefined)
    refuse('groupBy', `is ${given(request.groupBy)}; expected device, type, none or tag:<key>`);

  const fill = request.fill ?? 'null';
  const notLines = aggregates.filter((one) => one !== undefined && !mayBeLine(one)).map((one) => one?.name);
  if (fill === 'linear' && notLines.length > 0)
    refuse('fill', `is linear, which is not defined for ${notLines.join(', ')}; leave them out of agg, or use locf`);
  if (request.fillMaxMs !== undefined && fill !== 'locf') refuse('fillMaxMs', 'is for fill=locf only');

  const parsed = request.interval === undefined ? undefined : parseInterval(request.interval);
  if (request.interval !== undefined && parsed === undefined)
    refuse('interval', `is ${given(request.interval)}; expected ${intervalForms}`);
  if (request.interval !== undefined && request.maxPoints !== undefined)
    refuse('maxPoints', 'chooses the interval: give either interval or maxPoints');

  const offset = request.offset === undefined ? undefined : parseOffset(request.offset);
  if (request.offset !== undefined && offset === undefined)
    refuse('offset', `is ${given(request.offset)}; expected ${offsetForms}`);

  if (request.downsample !== undefined) refuseBesideDownsample(request, refuse);

  if (errors.length > 0) throw badRequest('The question is not valid', errors);
  const range = { from: from!, to: to! };
  const chosenMax = request.downsample && request.maxPoints;
  const isChosen = request.maxPoints !== undefined && chosenMax === undefined;
  const interval = isChosen ? intervalFor(range, timeZone, request.maxPoints) : parsed;
  if (isChosen && interval === undefined) {
    const days = Math.floor((range.to - range.from) / dayMs);
    refuse(
      'maxPoints',
      `is ${request.maxPoints}, but the range has ${days} days: more months than that; name an interval, or shorten the range`,
    );
    throw badRequest('The question is not valid', errors);
  }
  const { devices, pattern, tag, type } = request;
  return {
    selection: { devices, pattern, tag, type },
    metrics,
    aggregates: chosenMax === undefined ? (aggregates as AskedAggregate[]) : [parseAggregate('m4')!],
    range,
    interval,
    timeZone,
    fill,
    fillMaxMs: request.fillMaxMs,
    groupBy: groupBy!,
    where: filters as ValueFilter[],
    offset,
    chosenMax,
    layout: request.layout ?? 'columns',
  };
}

/** The question as a request, with its range as it was resolved. */
export function requestOf(question: Question): SeriesRequest {
  const {
    selection,
    metrics,
    aggregates,
    range,
    interval,
    timeZone,
    fill,
    fillMaxMs,
    groupBy,
    where,
    offset,
    chosenMax,
    layout,
  } = question;
  const isPlain = metrics.every((name) => !name.includes(','));
  return {
    ...Object.fromEntries(Object.entries(selection).filter(([, value]) => value !== undefined)),
    ...(isPlain ? { metrics } : { metric: metrics }),
    ...(chosenMax === undefined
      ? { agg: aggregates.map(({ name }) => name) }
      : { downsample: 'lttb' as const, maxPoints: chosenMax }),
    from: isoTime(range.from),
    to: isoTime(range.to),
    ...(interval && { interval: interval.text }),
    ...(timeZone !== 'UTC' && { tz: timeZone }),
    ...(fill !== 'null' && { fill }),
    ...(fillMaxMs !== undefined && { fillMaxMs }),
    ...(groupBy !== 'device' && { groupBy: typeof groupBy === 'string' ? groupBy : `tag:${groupBy.tag}` }),
    ...(where.length > 0 && { where: where.map(({ metric, operator, value }) => `${metric}${operator}${value}`) }),
    ...(offset && { offset: offset.text }),
    ...(layout !== 'columns' && { layout }),
  };
}

/** Downsampling answers values of readings: nothing that speaks of buckets goes with it. */
function refuseBesideDownsample(request: SeriesRequest, refuse: (name: string, detail: string) => void): void {
  if (request.maxPoints === undefined) refuse('maxPoints', 'is missing; downsample=lttb chooses so many values');
  for (const name of ['agg', 'interval', 'fill', 'offset'] as const)
    if (request[name] !== undefined) refuse(name, 'is not for downsample=lttb, which answers values and no buckets');
  if ((request.groupBy ?? 'device') !== 'device')
    refuse('groupBy', 'is not for downsample=lttb, which chooses among the values of each device');
}

/** A date without a time is its midnight in the zone. */
function readTime(text: string, now: number, timeZone: string): number | undefined {
  const ms = /^\d{4}-\d{2}-\d{2}$/.test(text) ? startOfDate(text, timeZone) : parseInstant(text, now);
  return ms !== undefined && ms >= 0 ? ms : undefined;
}

/** The shortest name with which the rest is an operator and a number; the name may contain operators. */
function parseFilter(text: string): ValueFilter | undefined {
  const [, metric, operator, digits] =
    /^(.+?)(<=|>=|!=|<|>|=)([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?)$/s.exec(text) ?? [];
  const value = Number(digits);
  if (metric === undefined || metric.length > limits.metricNameCharactersMax || !Number.isFinite(value))
    return undefined;
  return { metric, operator: operator as ValueFilter['operator'], value };
}

function readGroupBy(text: string): GroupBy | undefined {
  if (text === 'device' || text === 'type' || text === 'none') return text;
  return text.startsWith('tag:') && text.length > 4 ? { tag: text.slice(4) } : undefined;
}
