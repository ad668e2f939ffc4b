import type { MetricValue } from '@fleetwire/contracts/metrics';
import type { BucketBounds, SeriesQuery, ValueFilter } from '../src/series/series-query.ts';

/** A stored reading with its place among those of its device. */
export interface PlacedReading {
  readonly deviceKey: number;
  readonly streamKey: number;
  readonly seq: number;
  readonly ts: number;
  readonly metrics: Readonly<Record<string, MetricValue>>;
}

interface Value {
  readonly deviceKey: number;
  readonly ts: number;
  readonly streamKey: number;
  readonly seq: number;
  readonly value: MetricValue;
}

type NumberValue = Value & { readonly value: number };

/** What the definitions in docs/analysts.md say, computed from all readings in the simplest way. By `group/metric/bucket`. */
export function expectedSeries(readings: readonly PlacedReading[], query: SeriesQuery): Map<string, object> {
  const expected = new Map<string, object>();
  const groups = query.groups ?? { deviceKeys: query.deviceKeys, numbers: query.deviceKeys };
  for (const group of new Set(groups.numbers)) {
    const members = groups.deviceKeys.filter((_, index) => groups.numbers[index] === group);
    for (const [metric, name] of query.metrics.entries()) {
      const values = valuesOf(readings, name, query.where);
      for (const [bucket, bounds] of query.buckets.entries()) {
        const found = bucketOf(
          values.filter(({ deviceKey }) => members.includes(deviceKey)),
          members,
          bounds,
          query,
        );
        if (found !== undefined) expected.set(`${group}/${metric}/${bucket}`, { group, metric, bucket, ...found });
      }
    }
  }
  return expected;
}

function valuesOf(readings: readonly PlacedReading[], name: string, where: readonly ValueFilter[]): Value[] {
  return readings
    .filter(
      ({ metrics }) => Object.hasOwn(metrics, name) && where.every((filter) => passes(metrics[filter.metric], filter)),
    )
    .map(({ metrics, ...place }) => ({ ...place, value: metrics[name]! }))
    .sort((a, b) => a.ts - b.ts || a.streamKey - b.streamKey || a.seq - b.seq);
}

function passes(value: MetricValue | undefined, { operator, value: bound }: ValueFilter): boolean {
  if (typeof value !== 'number') return false;
  if (operator === '<') return value < bound;
  if (operator === '<=') return value <= bound;
  if (operator === '>') return value > bound;
  if (operator === '>=') return value >= bound;
  return operator === '=' ? value === bound : value !== bound;
}

function bucketOf(all: readonly Value[], members: readonly number[], bounds: BucketBounds, query: SeriesQuery) {
  const inside = all.filter(({ ts }) => bounds.from <= ts && ts < bounds.to);
  if (inside.length === 0) return undefined;
  const numbers = inside.filter(isNumber);
  const sorted = numbers.map(({ value }) => value).sort((a, b) => a - b);
  const sum = numbers.length === 0 ? null : total(sorted);
  const ofDevices = members
    .map((member) =>
      neighbours(
        all.filter(isNumber).filter(({ deviceKey }) => deviceKey === member),
        bounds,
      ),
    )
    .filter((one) => one !== undefined);
  const first = inside[0]!.value;
  const last = inside.at(-1)!.value;
  return {
    count: inside.length,
    numbers: numbers.length,
    sum,
    min: sorted[0] ?? null,
    max: sorted.at(-1) ?? null,
    stddev: deviation(sorted),
    percentiles: sorted.length === 0 ? null : query.percentiles.map((fraction) => percentile(sorted, fraction)),
    first: typeof first === 'number' ? first : null,
    firstOther: typeof first === 'number' ? null : first,
    last: typeof last === 'number' ? last : null,
    lastOther: typeof last === 'number' ? null : last,
    m4First: timed(numbers[0]),
    m4Last: timed(numbers.at(-1)),
    m4Min: timed(numbers.find(({ value }) => value === sorted[0])),
    m4Max: timed(numbers.find(({ value }) => value === sorted.at(-1))),
    distinct: new Set(inside.map(({ value }) => canonical(value))).size,
    increase: ofDevices.length === 0 ? null : total(ofDevices.map(({ increase }) => increase)),
    rate: totalOrNull(ofDevices.map(({ rate }) => rate)),
    delta: mean(ofDevices.map(({ delta }) => delta)),
    twavg: mean(ofDevices.map(({ twavg }) => twavg)),
    coveredMs: mean(ofDevices.map(({ coveredMs }) => coveredMs)),
    states: states(all, members, bounds),
  };
}

function neighbours(values: readonly NumberValue[], { from, to, heldSince }: BucketBounds) {
  const start = values.findIndex(({ ts }) => ts >= from);
  const inside = values.filter(({ ts }) => from <= ts && ts < to);
  const first = inside[0];
  const last = inside.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const before = values[start - 1];
  const chain = before === undefined ? inside : [before, ...inside];
  const increases = chain.slice(1).map(({ value }, index) => {
    const u = chain[index]!.value;
    return value >= u ? value - u : value;
  });
  const seconds = (last.ts - chain[0]!.ts) / 1_000;
  const isHeld = before !== undefined && before.ts >= heldSince;
  const steps = isHeld ? [{ ...before, ts: from }, ...inside] : inside;
  const area = total(steps.map(({ value, ts }, index) => value * ((steps[index + 1]?.ts ?? to) - ts)));
  const coveredMs = to - steps[0]!.ts;
  return {
    increase: total(increases),
    rate: seconds > 0 ? total(increases) / seconds : null,
    delta: last.value - (before ?? first).value,
    twavg: area / coveredMs,
    coveredMs,
  };
}

function states(all: readonly Value[], members: readonly number[], { from, to, heldSince }: BucketBounds) {
  const ms = new Map<string, number>();
  for (const member of members) {
    const values = all.filter(({ deviceKey }) => deviceKey === member);
    const start = values.findIndex(({ ts }) => ts >= from);
    const inside = values.filter(({ ts }) => from <= ts && ts < to);
    if (inside.length === 0) continue;
    const before = values[start - 1];
    const steps = before !== undefined && before.ts >= heldSince ? [{ ...before, ts: from }, ...inside] : inside;
    for (const [index, { value, ts }] of steps.entries()) {
      const held = (steps[index + 1]?.ts ?? to) - ts;
      if (held > 0) ms.set(canonical(value), (ms.get(canonical(value)) ?? 0) + held);
    }
  }
  return Object.fromEntries([...ms].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function isNumber(value: Value): value is NumberValue {
  return typeof value.value === 'number';
}

function timed(value: NumberValue | undefined) {
  return value === undefined ? null : [value.value, value.ts];
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0);
}

function totalOrNull(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : total(known);
}

function mean(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : total(known) / known.length;
}

/** `percentile_cont`: linear between the closest ranks. */
function percentile(sorted: readonly number[], fraction: number): number {
  const place = fraction * (sorted.length - 1);
  const low = sorted[Math.floor(place)]!;
  const high = sorted[Math.ceil(place)]!;
  return low === high ? low : low + (place - Math.floor(place)) * (high - low);
}

function deviation(numbers: readonly number[]): number | null {
  if (numbers.length < 2) return null;
  const mean = total(numbers) / numbers.length;
  return Math.sqrt(total(numbers.map((value) => (value - mean) ** 2)) / (numbers.length - 1));
}

export function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return JSON.stringify(Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))));
}
