import { startOfHour } from './horizon.ts';

/** The hours of one device that are built: half-open. */
export interface TileSpan {
  readonly deviceKey: number;
  readonly fromHour: number;
  readonly toHour: number;
}

export const tileKinds = ['raw', 'hour', 'minutes'] as const;
export type TileKind = (typeof tileKinds)[number];

/** A rollup row takes as much as a dozen values: a tile with fewer of each metric is read raw. */
const valuesPerRollupMin = 12;
/** The same for rollups of minutes: tiles with more readings have them, too. */
const minuteReadingsMin = 60 * valuesPerRollupMin;
/** Names in one tile, and names that have rollups at all: a tile beyond either is read raw. */
const namesPerTileMax = 1_024;
const metricsMax = 100_000;
/** Tiles that would be read raw, if their readings were not about to be dropped, leave the rest of the names to others. */
const metricsOfFinalMax = 50_000;
/** Sums of numbers up to this size stay within the range of a double, whatever their number. */
const summableMax = 1e140;

/**
 * Builds the tiles of the spans from their readings; nothing is there of them before. Parameters: device keys, first hours, last hours
 * (exclusive), the hour from which on minutes are kept. A row for each kind: tiles, readings.
 * @param isFinal the readings are about to be dropped: every tile gets rollups
 */
export function tileStatement(spans: readonly TileSpan[], isFinal: boolean): string {
  const from = new Date(startOfHour(Math.min(...spans.map(({ fromHour }) => fromHour)))).toISOString();
  const to = new Date(startOfHour(Math.max(...spans.map(({ toHour }) => toHour)))).toISOString();
  // A tile that is read raw in any case enters no names. With `offset 0` the readings of a span are looked up by the index.
  return `
    with spans as materialized (
      select device_key, to_timestamp(from_hour * 3600.0) as from_ts, to_timestamp(to_hour * 3600.0) as to_ts
      from unnest($1::int4[], $2::int4[], $3::int4[]) as s (device_key, from_hour, to_hour)
    ), stored as materialized (
      select r.*, floor(r.ms / 3600000)::int4 as hour
      from spans s cross join lateral (
        select device_key, stream_key, seq, shape_key, numbers, others, round(date_part('epoch', ts) * 1000) as ms
        from readings where device_key = s.device_key and ts >= s.from_ts and ts < s.to_ts and ts >= '${from}' and ts < '${to}' offset 0
      ) as r
    ), sized as (
      select device_key, hour, count(*)::int4 as readings from stored group by 1, 2
    ), others as materialized (
      select s.device_key, s.hour, floor(s.ms / 60000)::int4 as minute, s.ms, s.stream_key, s.seq, o.key as name,
        case when jsonb_typeof(o.value) = 'number' then o.value::float8 end as x
      from stored s cross join lateral jsonb_each(s.others) as o where s.others is not null
    ), in_order as materialized (
      select device_key, hour, floor(ms / 60000)::int4 as minute, name, ms, stream_key, x,
        lag(x) over w as u, lag(ms) over w as u_ms, lead(ms) over w as next_ms
      from (
        select s.device_key, s.hour, s.ms, s.stream_key, s.seq, n.name collate "C" as name, n.x
        from stored s join shapes h using (shape_key) cross join lateral unnest(h.names, s.numbers) as n (name, x)
        where n.name is not null
        union all select device_key, hour, ms, stream_key, seq, name, x from others where x is not null
      ) as n
      window w as (partition by device_key, name, hour order by ms, stream_key, seq)
    ), hours as materialized (
      select * from (${rollup('hour', 'in_order')}) as n full join (${others('hour', 'others')}) as o using (device_key, hour, name)
    ), chosen as materialized (
      select device_key, hour, readings, names, o.is_ordinary, ${isFinal} or o.is_ordinary as is_dense
      from sized left join (
        select device_key, hour, count(*) as names, sum(coalesce(count, 0) + coalesce(others, 0)) as values, coalesce(bool_or(is_huge), false) as is_huge
        from hours group by 1, 2
      ) as h using (device_key, hour)
      cross join lateral (select coalesce(
        readings > ${valuesPerRollupMin} and names * ${valuesPerRollupMin} < "values" and names <= ${namesPerTileMax} and not is_huge, false) as is_ordinary) as o
    ), names as materialized (
      select name, bool_or(names <= ${namesPerTileMax}) as may_enter, bool_or(is_ordinary) as is_ordinary
      from hours join chosen using (device_key, hour) where is_dense group by 1
    ), added as (
      insert into rollup_metrics (name)
      select name from (
        select name, is_ordinary, row_number() over (order by is_ordinary desc, name) + (select count(*) from rollup_metrics) as number
        from names where may_enter and not exists (select from rollup_metrics m where m.name = names.name)
      ) as n where number <= case when is_ordinary then ${metricsMax} else ${metricsOfFinalMax} end
      returning metric_key, name
    ), keys as materialized (
      select metric_key, name from rollup_metrics join names using (name) union all select metric_key, name from added
    ), keyed as materialized (
      select h.*, k.metric_key from hours h join chosen c using (device_key, hour) left join keys k using (name) where c.is_dense
    ), entered as (
      insert into tiles (device_key, hour, readings, kind, version_xid, metric_keys)
      select device_key, hour, readings, k.kind, pg_current_xact_id()::text::int8, case when k.kind > 0 then metric_keys end
      from chosen left join (
        select device_key, hour, array_agg(metric_key order by metric_key) filter (where metric_key is not null) as metric_keys,
          bool_and(metric_key is not null) as is_keyed
        from keyed group by 1, 2
      ) as h using (device_key, hour)
      cross join lateral (select case
        when not is_dense or not (${isFinal} or coalesce(is_keyed, true)) then 0
        when readings > ${minuteReadingsMin} and hour >= $4::int4 then 2
        else 1 end as kind) as k
      returning device_key, hour, readings, kind
    ), entered_hours as (
      insert into rollup_1h (${columns('hour')})
      select ${values('hour')} from keyed r join entered e using (device_key, hour) where e.kind > 0 and metric_key is not null
    ), dense as materialized (
      select device_key, hour from entered where kind = 2
    ), entered_minutes as (
      insert into rollup_1m (${columns('minute')})
      select ${values('minute')}
      from (
        select * from (${rollup('minute', 'in_order join dense using (device_key, hour)')}) as n
        full join (${others('minute', 'others join dense using (device_key, hour)')}) as o using (device_key, minute, name)
      ) as r join keys using (name)
    )
    select kind, count(*)::int4 as tiles, sum(readings)::int8 as readings from entered group by 1`;
}

const msPer = { hour: '3600000.0', minute: '60000.0' } as const;
type Unit = keyof typeof msPer;

/** Numbers `x` by hour or minute; `u` is the number before, where it lies in the same hour. */
function rollup(unit: Unit, from: string): string {
  const start = `${unit} * ${msPer[unit]}`;
  const isFirst = unit === 'hour' ? 'u_ms is null' : `(u_ms is null or u_ms < ${start})`;
  const isLast = unit === 'hour' ? 'next_ms is null' : `(next_ms is null or next_ms >= ${start} + ${msPer[unit]})`;
  const isSummable = `abs(x) < ${summableMax}`;
  const hasBefore = `not ${isFirst} and ${isSummable} and abs(u) < ${summableMax}`;
  const sumOf = (what: string) => `case when not bool_or(not ${isSummable}) then ${what} end`;
  return `
    select device_key, ${unit}, name, count(*)::int4 as count, bool_or(not ${isSummable}) as is_huge,
      ${sumOf(`sum(x) filter (where ${isSummable})`)} as sum,
      ${sumOf(`regr_sxx(x, x) filter (where ${isSummable})`)} as sxx,
      ${sumOf(`coalesce(sum(case when x >= u then x - u else x end) filter (where ${hasBefore}), 0)`)} as rise,
      ${sumOf(`coalesce(sum(u * (ms - u_ms)) filter (where ${hasBefore}), 0)`)} as area,
      min(x) as min, max(x) as max, max(x) filter (where ${isFirst}) as first, max(x) filter (where ${isLast}) as last,
      ((min(array[x, ms]))[2] - ${start})::int4 as min_ms, (-(max(array[x, -ms]))[2] - ${start})::int4 as max_ms,
      (min(ms) - ${start})::int4 as first_ms, (max(ms) - ${start})::int4 as last_ms,
      max(stream_key) filter (where ${isFirst}) as first_stream, max(stream_key) filter (where ${isLast}) as last_stream
    from ${from} group by 1, 2, 3`;
}

function others(unit: Unit, from: string): string {
  return `select device_key, ${unit}, name, count(*)::int4 as others from ${from} where x is null group by 1, 2, 3`;
}

const rollupColumns =
  'sum, sxx, rise, area, min, max, first, last, min_ms, max_ms, first_ms, last_ms, first_stream, last_stream';

function columns(unit: Unit): string {
  return `device_key, metric_key, ${unit}, count, others, ${rollupColumns}`;
}

function values(unit: Unit): string {
  return `device_key, metric_key, ${unit}, coalesce(count, 0), coalesce(others, 0), ${rollupColumns}`;
}
