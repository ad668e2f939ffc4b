import { type RawBuilder, sql } from 'kysely';
import { isAllRolled, type StoredRange, valuesBefore } from './found-values.ts';
import { grouping } from './grouping.ts';
import { type SeriesQuery, statesListedMax } from './series-query.ts';

/** Elements of these arrays are found by the number of the bucket; the subqueries are evaluated once. */
const startOf = sql`((select starts from bounds))[f.b]`;
const endOf = sql`((select ends from bounds))[f.b]`;
const heldSince = sql`((select held_since from bounds))[f.b]`;

export function boundsOfBuckets({ buckets }: SeriesQuery): RawBuilder<unknown> {
  return sql`select ${buckets.map(({ from }) => from)}::float8[] as starts, ${buckets.map(({ to }) => to)}::float8[] as ends,
    ${buckets.map((bucket) => bucket.heldSince)}::float8[] as held_since`;
}

/**
 * Aggregates of neighbouring numbers, for each device, over pieces in the order of time: a value, or a tile with its first and last value
 * and what lies between them. The value `u` before a piece may lie before the bucket. Of a group, rates and increases are added, and the
 * others averaged.
 */
export function neighbours(query: SeriesQuery, stored: StoredRange): RawBuilder<unknown>[] {
  const { grp, from } = grouping(query, sql`of_device`);
  const value = sql`ms as first_ms, ms as last_ms, stream_key, seq, x as first, x as last, 0::float8 as rise, 0::float8 as area`;
  const ofTile = sql`first_ms, last_ms, 0, 0, first, last, rise, area`;
  const isFirst = sql`f.u_b is distinct from f.b`;
  const holdsAtStart = sql`${isFirst} and f.u_ms >= ${heldSince}`;
  return [
    sql`numbers_before as (${valuesBefore(query, stored, 'number')})`,
    sql`in_order as (
      select *, lag(last) over w as u, lag(last_ms) over w as u_ms, lag(b) over w as u_b, lead(b) over w as next_b
      from (
        ${isAllRolled(query, stored) ? sql`` : sql`select device_key, no, b, ${value} from found where x is not null union all`}
        select device_key, no, null::int4 as b, ${value} from numbers_before
        ${stored.rolled === undefined ? sql`` : sql`union all select device_key, no, b, ${ofTile} from rolled where count > 0`}
      ) as q window w as (partition by device_key, no order by first_ms, stream_key, seq))`,
    sql`of_device_bucket as (
      select f.device_key, f.no, f.b,
        sum(f.rise + case when f.u is null then 0 when f.first >= f.u then f.first - f.u else f.first end) as rise,
        min(coalesce(f.u_ms, f.first_ms)) as first_u_ms,
        max(f.last_ms) as last_ms, min(f.first_ms) as first_ms,
        max(f.first) filter (where ${isFirst}) as first, max(f.u) filter (where ${isFirst}) as before_first,
        max(f.last) filter (where f.next_b is distinct from f.b) as last,
        sum(f.area + case when f.u_b = f.b then f.u * (f.first_ms - f.u_ms)
          when ${holdsAtStart} then f.u * (f.first_ms - ${startOf}) else 0 end) as area,
        bool_or(${holdsAtStart}) as is_held, max(${startOf}) as start_ms, max(${endOf}) as end_ms
      from in_order f where f.b is not null group by 1, 2, 3)`,
    sql`of_device as (
      select device_key, no, b, rise as increase,
        case when last_ms > first_u_ms then ${quotient(sql`rise`, sql`((last_ms - first_u_ms) / 1000)`)} end as rate,
        last - coalesce(before_first, first) as delta,
        ${quotient(sql`(area + last * (end_ms - last_ms))`, covered)} as twavg, ${covered} as covered_ms
      from of_device_bucket)`,
    sql`between_neighbours as (
      select ${grp} as grp, f.no, f.b, sum(f.increase) as increase, sum(f.rate) as rate, ${quotient(sql`sum(f.delta)`, sql`count(f.delta)`)} as delta,
        ${quotient(sql`sum(f.twavg)`, sql`count(f.twavg)`)} as twavg, sum(f.covered_ms) / count(f.covered_ms) as covered_ms
      from ${from} group by 1, 2, 3)`,
  ];
}

/** Postgres refuses a quotient that is too small for a double. */
export function quotient(dividend: RawBuilder<unknown>, divisor: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`case when abs(${dividend}) < 1e-290 then 0 else ${dividend} / ${divisor} end`;
}

const covered = sql`(end_ms - case when is_held then start_ms else first_ms end)`;

/** The time in each value: it holds until the next one, or the end of its bucket. */
export function states(query: SeriesQuery, stored: StoredRange): RawBuilder<unknown>[] {
  const { grp, from } = grouping(query, sql`held`);
  const columns = sql`ms, stream_key, seq, coalesce(to_jsonb(x), v) as v`;
  return [
    sql`values_before as (${valuesBefore(query, stored, 'any')})`,
    sql`any_in_order as (
      select *, lead(ms) over w as next_ms, lag(ms) over w as u_ms, lag(b) over w as u_b, lag(v) over w as u
      from (
        select device_key, no, b, ${columns} from found
        union all select device_key, no, null, ${columns} from values_before
      ) as q window w as (partition by device_key, no order by ms, stream_key, seq))`,
    sql`held as (
      select f.device_key, f.no, f.b, f.v, least(f.next_ms, ${endOf}) - f.ms as ms from any_in_order f where f.b is not null
      union all
      select f.device_key, f.no, f.b, f.u, f.ms - ${startOf} from any_in_order f
      where f.b is not null and f.u_b is distinct from f.b and f.u_ms >= ${heldSince})`,
    sql`in_each_state as (
      select *, row_number() over (partition by grp, no, b order by ms desc, v) as place from (
        select ${grp} as grp, f.no, f.b, f.v, sum(f.ms) as ms from ${from} group by 1, 2, 3, 4
      ) as q where ms > 0)`,
    sql`in_states as (
      select grp, no, b,
        jsonb_agg(jsonb_build_object('value', v, 'ms', ms) order by place) filter (where place <= ${statesListedMax}) as states,
        sum(ms) filter (where place > ${statesListedMax}) as other_states_ms
      from in_each_state group by 1, 2, 3)`,
  ];
}
