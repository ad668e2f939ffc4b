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

const hourMs = 3_600_000;
const metricCount = '(select count(*) from metrics)';

/**
 * Builds the tiles of the spans from their readings; nothing is there of them before. Parameters: device keys, first hours, last hours
 * (exclusive), the hour from which on minutes are kept. A row for each kind: tiles, readings.
 * @param isFinal the readings are about to be dropped: every tile gets rollups
 */
export function tileStatement(spans: readonly TileSpan[], isFinal: boolean): string {
  const from = new Date(startOfHour(Math.min(...spans.map(({ fromHour }) => fromHour)))).toISOString();
  const to = new Date(startOfHour(Math.max(...spans.map(({ toHour }) => toHour)))).toISOString();
  // A tile that is read raw in any case enters no names. With `offset 0` the readings of a span are looked up by the index.
  // Values are put in order by one number, their place on a line on which each metric of each tile has an hour of its own: a sort by device, name
  // and time takes several times as long.
  return `
    with spans as materialized (
      select device_key, to_timestamp(from_hour * 3600.0) as from_ts, to_timestamp(to_hour * 3600.0) as to_ts
      from unnest($1::int4[], $2::int4[], $3::int4[]) as s (device_key, from_hour, to_hour)
    ), stored as materialized (
      select r.*, (r.ms / ${hourMs})::int4 as hour, (r.ms % ${hourMs})::int4 as ms_of_hour
      from spans s cross join lateral (
        select device_key, stream_key, seq, shape_key, numbers, others, round(date_part('epoch', ts) * 1000)::int8 as ms
        from readings where device_key = s.device_key and ts >= s.from_ts and ts < s.to_ts and ts >= '${from}' and ts < '${to}' offset 0
      ) as r
    ), sized as materialized (
      select row_number() over () as tile, device_key, hour, count(*)::int4 as readings from stored group by 2, 3
    ), others as materialized (
      select s.device_key, s.hour, s.hour * 60 + s.ms_of_hour / 60000 as minute, s.ms_of_hour, s.stream_key, s.seq, o.key as name,
        case when jsonb_typeof(o.value) = 'number' then o.value::float8 end as x
      from stored s cross join lateral jsonb_each(s.others) as o where s.others is not null
    ), metrics as materialized (
      select name, row_number() over () - 1 as number from (
        select unnest(names) collate "C" as name from shapes where shape_key in (select shape_key from stored)
        union select name from others where x is not null
      ) as n
    ), numbered_shapes as materialized (
      select shape_key, array_agg(number order by position) as metrics
      from shapes cross join lateral unnest(names) with ordinality as n (name, position) join metrics using (name) group by 1
    ), in_order as materialized (
      select line_ms, stream_key, x, y, lag(y) over w as u, lag(line_ms) over w as u_line_ms, lead(line_ms) over w as next_line_ms
      from (
        select (tile * ${metricCount} + number) * ${hourMs} + ms_of_hour as line_ms, stream_key, seq, x, case when abs(x) < ${summableMax} then x end as y
        from (
          select tile, ms_of_hour, stream_key, seq, unnest(metrics) as number, unnest(numbers) as x
          from stored join sized using (device_key, hour) join numbered_shapes using (shape_key)
          union all
          select tile, ms_of_hour, stream_key, seq, number, x
          from others join sized using (device_key, hour) join metrics using (name) where x is not null
        ) as n
      ) as n
      window w as (order by line_ms, stream_key, seq)
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
        select * from (${rollup('minute', `in_order where line_ms / ${hourMs} / ${metricCount} in (select tile from sized join dense using (device_key, hour))`)}) as n
        full join (${others('minute', 'others join dense using (device_key, hour)')}) as o using (device_key, minute, name)
      ) as r join keys using (name)
    )
    select kind, count(*)::int4 as tiles, sum(readings)::int8 as readings from entered group by 1`;
}

const msPer = { hour: hourMs, minute: 60_000 } as const;
type Unit = keyof typeof msPer;

/** A row for each metric of each hour or minute that has numbers, `x`; those of `y` can be summed, and `u` is the `y` of the number before. */
function rollup(unit: Unit, from: string): string {
  const ms = msPer[unit];
  const perHour = hourMs / ms;
  const isFirst = 'u_bucket is distinct from bucket';
  const isLast = 'next_bucket is distinct from bucket';
  const sumOf = (what: string) => `case when count(y) = count(*) then ${what} end`;
  return `
    select device_key, ${unit === 'hour' ? 'hour' : `(hour * ${perHour} + bucket % ${perHour})::int4 as minute`}, name, n.*
    from (
      select bucket, count(*)::int4 as count, count(y) < count(*) as is_huge,
        ${sumOf('sum(y)')} as sum,
        ${sumOf('regr_sxx(y, y)')} as sxx,
        ${sumOf('coalesce(sum(case when y >= u then y - u when y < u then y end) filter (where u_bucket = bucket), 0)')} as rise,
        ${sumOf('coalesce(sum(u * (line_ms - u_line_ms)) filter (where u_bucket = bucket), 0)')} as area,
        min(x) as min, max(x) as max, max(x) filter (where ${isFirst}) as first, max(x) filter (where ${isLast}) as last,
        (min(array[x, ms]))[2]::int4 as min_ms, -(max(array[x, -ms]))[2]::int4 as max_ms, min(ms) as first_ms, max(ms) as last_ms,
        max(stream_key) filter (where ${isFirst}) as first_stream, max(stream_key) filter (where ${isLast}) as last_stream
      from (
        select *, line_ms / ${ms} as bucket, u_line_ms / ${ms} as u_bucket, next_line_ms / ${ms} as next_bucket, (line_ms % ${ms})::int4 as ms
        from ${from}
      ) as n group by 1
    ) as n
    join sized on tile = bucket / ${perHour} / ${metricCount}
    join metrics on number = bucket / ${perHour} % ${metricCount}`;
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
