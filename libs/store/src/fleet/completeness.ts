import { sql } from 'kysely';
import type pg from 'pg';
import type { Database } from '../database.ts';
import { serverEpochPrefix } from '../gaps.ts';
import { sequenceBlockSize } from '../sequence-blocks.ts';

/** Intervals between readings, the newest before the end of the range, whose median is taken for the usual one. */
export const intervalsSampledMax = 100;
/** A gap in time is longer than so many expected intervals. */
export const gapIntervals = 3;
export const timeGapsListedMax = 100;

export interface DevicesInTime {
  readonly deviceKeys: readonly number[];
  /** Starts of the buckets, in order; the first is the start of the range. Epoch milliseconds, as all times here. */
  readonly starts: readonly number[];
  readonly to: number;
  /** Nothing is expected later. */
  readonly until: number;
}

export interface DeviceCompleteness {
  readonly deviceKey: number;
  /** Null where nothing is registered and too few readings are there to estimate it. */
  readonly intervalMs: number | null;
  readonly isEstimated: boolean;
  /** Device time of the newest reading before `until`, also from before the range; null where there is none. */
  readonly lastTs: number | null;
  readonly stored: number;
  /** Of buckets that have readings. */
  readonly counts: readonly { readonly bucket: number; readonly count: number }[];
  /** Numbers between the first and the last reading of a boot in the range that are not stored at any time. */
  readonly sequenceMissing: number;
  /** The first of them; `from` and `to` are times of readings, or ends of the range. */
  readonly timeGaps: readonly { readonly from: number; readonly to: number }[];
  readonly timeGapCount: number;
  /** That arrived in the range. */
  readonly deadLetters: number;
}

/** Expected against stored readings of each device, gaps in its sequence numbers and in time, in one snapshot. */
export async function readCompletenessOfDevices(
  { db }: Pick<Database, 'db'>,
  client: pg.PoolClient,
  { deviceKeys, starts, to, until }: DevicesInTime,
): Promise<DeviceCompleteness[]> {
  const iso = (ms: number) => sql`${new Date(ms).toISOString()}::timestamptz`;
  const ms = (column: string) => sql`round(date_part('epoch', ${sql.ref(column)}) * 1000)`;
  const from = starts[0]!;
  const isInRange = sql`r.ts >= ${iso(from)} and r.ts < ${iso(to)}`;
  const statement = sql<DeviceCompleteness & pg.QueryResultRow>`
    with chosen as materialized (
      select d.device_key, d.device_id, d.expected_interval_ms::float8 as registered_ms, coalesce(d.expected_interval_ms::float8, usual.ms) as interval_ms, last.ms as last_ms
      from devices d left join lateral (
        select ${ms('r.ts')} as ms from readings r where r.device_key = d.device_key and r.ts < ${iso(until)} order by r.ts desc limit 1
      ) as last on true left join lateral (
        select percentile_cont(0.5) within group (order by gap) as ms from (
          select ${ms('q.ts')} - lag(${ms('q.ts')}) over (order by q.ts) as gap from (
            select r.ts from readings r where r.device_key = d.device_key and r.ts < ${iso(to)}
            order by r.ts desc limit ${intervalsSampledMax + 1}
          ) as q
        ) as q where gap > 0
      ) as usual on d.expected_interval_ms is null
      where d.device_key = any(${deviceKeys}::int4[])
    ), found as materialized (
      select r.device_key, r.stream_key, r.seq, ${ms('r.ts')} as ms from readings r
      where r.device_key = any(${deviceKeys}::int4[]) and ${isInRange}
    ), counts as (
      select device_key, sum(count)::int8 as stored, jsonb_agg(jsonb_build_object('bucket', bucket, 'count', count) order by bucket) as counts from (
        select device_key, width_bucket(ms, ${starts}::float8[]) - 1 as bucket, count(*) as count from found group by 1, 2
      ) as q group by 1
    ), steps as (
      select device_key, lag(ms) over (partition by device_key order by ms) as since, ms from (
        select device_key, ms from found
        union all select device_key, unnest(array[${from}, ${until}]::float8[]) from chosen
      ) as q
    ), gaps as (
      select device_key, count(*) as gaps, jsonb_agg(jsonb_build_object('from', since, 'to', ms) order by since) filter (where place <= ${timeGapsListedMax}) as listed
      from (
        select s.*, row_number() over (partition by device_key order by since) as place
        from steps s join chosen c using (device_key) where s.ms - s.since > ${gapIntervals} * c.interval_ms
      ) as q group by 1
    ), boots as (
      select f.device_key, f.stream_key, min(f.seq) as first, max(f.seq) as last
      from found f join streams s using (stream_key) where not starts_with(s.epoch, ${serverEpochPrefix}) group by 1, 2
    ), missing as (
      select b.device_key, sum(b.last - b.first + 1 - (
        select coalesce(sum(upper(r.range) - lower(r.range)), 0)
        from sequence_blocks q cross join unnest(q.seen * int8multirange(int8range(b.first, b.last + 1))) as r (range)
        where q.stream_key = b.stream_key and q.block between b.first / ${sql.lit(sequenceBlockSize)} and b.last / ${sql.lit(sequenceBlockSize)}
      ))::int8 as missing
      from boots b group by 1
    ), dead as (
      select device_id, count(*) as letters from dead_letters
      where device_id in (select device_id from chosen) and received_at >= ${iso(from)} and received_at < ${iso(to)} group by 1
    )
    select c.device_key as "deviceKey", c.interval_ms as "intervalMs", c.registered_ms is null as "isEstimated", c.last_ms as "lastTs",
      coalesce(n.stored, 0) as stored, coalesce(n.counts, '[]') as counts, coalesce(m.missing, 0) as "sequenceMissing",
      coalesce(g.listed, '[]') as "timeGaps", coalesce(g.gaps, 0) as "timeGapCount", coalesce(l.letters, 0) as "deadLetters"
    from chosen c left join counts n using (device_key) left join missing m using (device_key) left join gaps g using (device_key)
      left join dead l using (device_id)
    order by c.device_id`;
  const { sql: text, parameters } = statement.compile(db);
  return (await client.query<DeviceCompleteness & pg.QueryResultRow>(text, [...parameters])).rows;
}
