import { type RawBuilder, sql } from 'kysely';
import { int4Array } from '../binary-arrays.ts';
import { foundValues, isAllRolled, type StoredRange } from './found-values.ts';
import { grouping, onlyGroup } from './grouping.ts';
import { boundsOfBuckets, neighbours, quotient, states } from './neighbours.ts';
import { rolledValues, unitMsOf } from './rolled-values.ts';
import type { Aggregate, SeriesQuery } from './series-query.ts';

/** A statement whose rows are those of `SeriesRow`, or one row with an array of each member, as Postgres sends arrays in binary (bytea). */
export interface BucketStatement {
  readonly statement: RawBuilder<unknown>;
  readonly isInArrays: boolean;
  /** Members that are the same for all rows, and no array. */
  readonly same: { readonly group: number | undefined; readonly metric: number | undefined };
}

/** They are no numbers, or arrays of them. */
const notNumbers: readonly Aggregate[] = ['first', 'last', 'state'];

/**
 * One statement, and so one snapshot, for all aggregates: a row for each group, metric and bucket that has a value, in no order.
 * Sums are not of one order, so their last digits may differ from run to run.
 */
export function bucketStatement(query: SeriesQuery, stored: StoredRange): BucketStatement {
  const has = (...names: Aggregate[]) => names.some((name) => query.aggregates.has(name));
  const needsNeighbours = has('delta', 'increase', 'rate', 'twavg');
  const needsStates = has('state');
  const { groups } = query;
  const columns = columnsOf(query);
  const isRolled = isAllRolled(query, stored);
  const parts = isRolled ? [] : [sql`found as (${foundValues(query, stored)})`];
  if (stored.rolled !== undefined) parts.push(sql`rolled as (${rolledValues(query, stored.rolled)})`);
  if (groups !== undefined && onlyGroup(query) === undefined)
    parts.push(
      sql`groups as (select * from unnest(${int4Array(groups.deviceKeys)}::int4[], ${int4Array(groups.numbers)}::int4[]) as g (device_key, grp))`,
    );
  parts.push(
    sql`base as (${stored.rolled === undefined ? fromReadings(query, columns) : fromReadingsAndRollups(query, columns, { isRolled, unitMs: unitMsOf(stored.rolled) })})`,
  );
  if (needsNeighbours || needsStates) parts.push(sql`bounds as (${boundsOfBuckets(query)})`);
  if (needsNeighbours) parts.push(...neighbours(query, stored));
  if (needsStates) parts.push(...states(query, stored));
  const from = sql`
    from base
      ${needsNeighbours ? sql`left join between_neighbours using (grp, no, b)` : sql``}
      ${needsStates ? sql`left join in_states using (grp, no, b)` : sql``}`;
  const same = {
    group: groups !== undefined ? onlyGroup(query) : query.deviceKeys.length === 1 ? query.deviceKeys[0] : undefined,
    metric: query.metrics.length === 1 ? 0 : undefined,
  };
  if (query.percentiles.length === 0 && !has(...notNumbers)) {
    const members = [
      ...(same.group === undefined ? [['group', sql`base.grp`]] : []),
      ...(same.metric === undefined ? [['metric', sql`base.no`]] : []),
      ['bucket', sql`base.b - 1`],
      ...columns.flatMap(({ name, isTimed }) =>
        isTimed === true
          ? [
              [name, sql`base.${sql.ref(name)}[1]`],
              [timeOf(name), sql`base.${sql.ref(name)}[2]`],
            ]
          : [[name, sql`base.${sql.ref(name)}`]],
      ),
      ...(needsNeighbours
        ? [
            ...['delta', 'increase', 'rate', 'twavg'].map((name) => [name, sql.ref(name)]),
            ['coveredMs', sql`covered_ms`],
          ]
        : []),
    ] as [string, RawBuilder<unknown>][];
    // Writing numbers as text, and reading them, would take longer than all else.
    const arrays = sql.join(
      members.map(([name, value]) => sql`array_send(array_agg((${value})::float8)) as ${sql.ref(name)}`),
    );
    return { isInArrays: true, same, statement: sql`with ${sql.join(parts)} select ${arrays} ${from}` };
  }
  const statement = sql`
    with ${sql.join(parts)}
    select base.grp as "group", base.no as metric, base.b - 1 as bucket
      ${joined(columns.filter(({ isInner }) => !isInner).map(({ name }) => sql`base.${sql.ref(name)}`))}
      ${has('first') ? edgeValue('first', query) : sql``}
      ${has('last') ? edgeValue('last', query) : sql``}
      ${needsNeighbours ? sql`, delta, increase, rate, twavg, covered_ms as "coveredMs"` : sql``}
      ${needsStates ? sql`, states, other_states_ms as "otherStatesMs"` : sql``}
    ${from}`;
  return { isInArrays: false, same, statement };
}

/** The member of the time of a value that has one. */
export function timeOf(name: string): string {
  return `${name}At`;
}

function joined(parts: readonly RawBuilder<unknown>[]): RawBuilder<unknown> {
  return sql.join(
    parts.map((part) => sql`, ${part}`),
    sql``,
  );
}

/**
 * A column of `base`: over the values `x` of readings, or in two steps, where `ofReadings` and `ofRollup` (a row `r`) are merged. What
 * rollups do not have is undefined.
 */
interface Column {
  readonly name: string;
  /** Read by another part of the statement only. */
  readonly isInner?: boolean;
  /** An array of a value and its time. */
  readonly isTimed?: boolean;
  readonly value: RawBuilder<unknown>;
  readonly ofReadings?: RawBuilder<unknown>;
  readonly ofRollup?: RawBuilder<unknown>;
  readonly merged?: RawBuilder<unknown>;
  /** Of a row of the rollup that is its whole bucket; `ofRollup` where it is left out. */
  readonly ofTile?: RawBuilder<unknown>;
}

/** A value with its place among the others; arrays are compared element by element, and no two have the same place. */
const placed = sql`array[f.ms, f.stream_key, f.seq, f.x]`;
const isNumber = sql`filter (where f.x is not null)`;
/** The same of a tile: its times are those of no other tile of the device. */
const firstOfTile = sql`case when f.count > 0 then array[f.first_ms, f.first_stream, 0, f.first] end`;
const lastOfTile = sql`case when f.count > 0 then array[f.last_ms, f.last_stream, 0, f.last] end`;

function columnsOf({ aggregates, percentiles }: SeriesQuery): Column[] {
  const has = (...names: Aggregate[]) => names.some((name) => aggregates.has(name));
  const columns: (Column | false)[] = [
    {
      name: 'count',
      value: sql`count(*)`,
      ofRollup: sql`f.count + f.others`,
      merged: sql`sum(f."count")::int8`,
    },
    { name: 'numbers', value: sql`count(f.x)`, ofRollup: sql`f.count`, merged: sql`sum(f.numbers)::int8` },
    has('sum', 'avg') && { name: 'sum', value: sql`sum(f.x)`, ofRollup: sql`f.sum`, merged: sql`sum(f."sum")` },
    has('min') && { name: 'min', value: sql`min(f.x)`, ofRollup: sql`f.min`, merged: sql`min(f."min")` },
    has('max') && { name: 'max', value: sql`max(f.x)`, ofRollup: sql`f.max`, merged: sql`max(f."max")` },
    has('stddev') && {
      name: 'stddev',
      value: sql`stddev_samp(f.x)`,
      ofReadings: sql`array[count(f.x), coalesce(sum(f.x), 0), coalesce(regr_sxx(f.x, f.x), 0)]::float8[]`,
      ofRollup: sql`array[f.count, coalesce(f.sum, 0), coalesce(f.sxx, 0)]::float8[]`,
      merged: deviation,
      ofTile: sql`case when f.count > 1 then sqrt(f.sxx) / sqrt(f.count - 1) end`,
    },
    has('first') && inner('first_placed', { value: sql`min(${placed})`, ofRollup: firstOfTile, by: sql`min` }),
    has('last') && inner('last_placed', { value: sql`max(${placed})`, ofRollup: lastOfTile, by: sql`max` }),
    ...(has('m4') ? ofM4 : []),
    has('distinct') && { name: 'distinct', value: sql`count(distinct coalesce(to_jsonb(f.x), f.v))` },
    percentiles.length > 0 && {
      name: 'percentiles',
      value: sql`percentile_cont(${percentiles}::float8[]) within group (order by f.x)`,
    },
  ];
  return columns.filter((column) => column !== false);
}

/**
 * Of parts `[n, Σx, Σ(x − mean of the part)²]`: the last, and what lies between the means. Postgres refuses a product or a quotient that is
 * too small for a double; no root is.
 */
const deviation = sql`case when sum(f.stddev[1]) > 1 then sqrt(sum(
    f.stddev[3] + case when abs(f.from_mean) > 1e-150 then f.stddev[1] * f.from_mean * f.from_mean else 0 end
  )) / sqrt(sum(f.stddev[1]) - 1) end`;

function inner(
  name: string,
  {
    value,
    ofRollup,
    by,
  }: {
    readonly value: RawBuilder<unknown>;
    readonly ofRollup: RawBuilder<unknown>;
    readonly by: RawBuilder<unknown>;
  },
): Column {
  return { name, isInner: true, value, ofRollup, merged: sql`${by}(f.${sql.ref(name)})` };
}

/** The greatest value has its time negated, so that of equal ones the earliest is found. */
const ofM4: Column[] = [
  {
    name: 'm4Min',
    isTimed: true,
    value: sql`min(array[f.x, f.ms]) ${isNumber}`,
    ofRollup: sql`case when f.count > 0 then array[f.min, f.min_ms] end`,
    merged: sql`min(f."m4Min")`,
  },
  {
    name: 'm4Max',
    isTimed: true,
    value: sql`max(array[f.x, -f.ms]) ${isNumber}`,
    ofRollup: sql`case when f.count > 0 then array[f.max, -f.max_ms] end`,
    merged: sql`max(f."m4Max")`,
  },
  {
    name: 'm4First',
    isTimed: true,
    value: timed(sql`min(${placed}) ${isNumber}`),
    ofReadings: sql`min(${placed}) ${isNumber}`,
    ofRollup: firstOfTile,
    merged: timed(sql`min(f."m4First")`),
    ofTile: timed(firstOfTile),
  },
  {
    name: 'm4Last',
    isTimed: true,
    value: timed(sql`max(${placed}) ${isNumber}`),
    ofReadings: sql`max(${placed}) ${isNumber}`,
    ofRollup: lastOfTile,
    merged: timed(sql`max(f."m4Last")`),
    ofTile: timed(lastOfTile),
  },
];

/** Of a placed value: `[value, time]`. */
function timed(value: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`(${value})[4:4] || (${value})[1:1]`;
}

function fromReadings(query: SeriesQuery, columns: readonly Column[]): RawBuilder<unknown> {
  const { grp, from } = grouping(query, sql`found`);
  return sql`
    select ${grp} as grp, f.no, f.b ${joined(columns.map(({ name, value }) => sql`${value} as ${sql.ref(name)}`))}
    from ${from} group by 1, 2, 3`;
}

/** No bucket has two rows of the rollup: one that has any begins and ends with it. */
function isOneTileEach({ buckets }: SeriesQuery, unitMs: number): boolean {
  return buckets.every(({ from, to }) => to - from <= unitMs);
}

/** Readings are aggregated before they meet rollups, of which each row is a tile. */
function fromReadingsAndRollups(
  query: SeriesQuery,
  columns: readonly Column[],
  { isRolled, unitMs }: { readonly isRolled: boolean; readonly unitMs: number },
): RawBuilder<unknown> {
  const named = (of: (column: Column) => RawBuilder<unknown>) =>
    joined(columns.map((column) => sql`${of(column)} as ${sql.ref(column.name)}`));
  if (query.groups === undefined && isOneTileEach(query, unitMs)) {
    const ofReadings = sql`
      select f.device_key as grp, f.no, f.b ${named(({ value }) => value)} from found f group by 1, 2, 3
      union all`;
    return sql`${isRolled ? sql`` : ofReadings}
      select f.device_key as grp, f.no, f.b ${named(({ ofTile, ofRollup }) => ofTile ?? ofRollup!)} from rolled f`;
  }
  const ofReadings = sql`
    select f.device_key, f.no, f.b ${named((column) => column.ofReadings ?? column.value)} from found f group by 1, 2, 3
    union all`;
  const parts = sql`(
    ${isRolled ? sql`` : ofReadings}
    select f.device_key, f.no, f.b ${named(({ ofRollup }) => ofRollup!)} from rolled f
  )`;
  const { grp, from } = grouping(query, parts);
  const merged = named((column) => column.merged!);
  if (!query.aggregates.has('stddev'))
    return sql`select ${grp} as grp, f.no, f.b ${merged} from ${from} group by 1, 2, 3`;
  return sql`
    select f.grp, f.no, f.b ${merged} from (
      select q.*, case when q.stddev[1] > 0 then ${quotient(sql`q.stddev[2]`, sql`q.stddev[1]`)} - ${quotient(sql`sum(q.stddev[2]) over w`, sql`sum(q.stddev[1]) over w`)} else 0 end as from_mean
      from (select ${grp} as grp, f.* from ${from}) as q window w as (partition by q.grp, q.no, q.b)
    ) as f group by 1, 2, 3`;
}

/** The first or last value; one that is no number is read again, by its place. */
function edgeValue(edge: 'first' | 'last', { metrics, buckets }: SeriesQuery): RawBuilder<unknown> {
  const placedAt = sql.ref(`${edge}_placed`);
  const time = (ms: number) => sql`${new Date(ms).toISOString()}::timestamptz`;
  return sql`, ${placedAt}[4] as ${sql.ref(edge)}, case when ${placedAt}[4] is null then (
    select r.others -> (${metrics}::text[])[base.no + 1] from readings r
    where r.device_key = (select s.device_key from streams s where s.stream_key = ${placedAt}[2]::int4)
      and r.ts = to_timestamp(${placedAt}[1] / 1000) and r.ts >= ${time(buckets[0]!.from)} and r.ts < ${time(buckets.at(-1)!.to)}
      and r.stream_key = ${placedAt}[2]::int4 and r.seq = ${placedAt}[3]::int8
  ) end as ${sql.ref(`${edge}Other`)}`;
}
