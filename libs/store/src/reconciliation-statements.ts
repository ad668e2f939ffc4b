import { minuteOf } from '@fleetwire/contracts/edge-report';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import type { Batch } from './batch-statements.ts';
import { int4Array, int8Array, textArray, timestamptzArray } from './binary-arrays.ts';

/**
 * How readings reach the writer, for reconciliation.
 *
 * | Origin | Meaning | New readings count as | Readings already stored count as |
 * | --- | --- | --- | --- |
 * | `first` | the first attempt at a message from ingest-ws | `stored` | `duplicates` |
 * | `repeat` | an earlier attempt may have committed although its result was lost | `stored`, or `replayed` if that attempt dead-lettered them | `repeats` |
 * | `replay` | replayed dead letters, which were accepted long ago | `replayed` | `repeats` |
 */
export type Origin = 'first' | 'repeat' | 'replay';

/** Counts the new readings of a batch, in rows that only this connection updates. */
export function countStored({ readings }: Batch, fresh: readonly number[], origin: Origin): pg.QueryConfig {
  const counts = new Map<number, number>();
  for (const ordinal of fresh) {
    const minute = minuteOf((readings[ordinal] as IdentifiedReading).receivedAt);
    counts.set(minute, (counts.get(minute) ?? 0) + 1);
  }
  const stored = [...counts.values()];
  return {
    name: 'count_stored',
    text: `
      insert into books_stored as known (minute, writer, stored, replayed)
      select c.minute, pg_backend_pid(), c.stored, c.replayed from unnest($1::int4[], $2::int4[], $3::int4[]) as c (minute, stored, replayed)
      on conflict (minute, writer) do update set stored = known.stored + excluded.stored, replayed = known.replayed + excluded.replayed`,
    values: [
      int4Array([...counts.keys()]),
      int4Array(origin === 'replay' ? stored.map(() => 0) : stored),
      int4Array(origin === 'replay' ? stored : stored.map(() => 0)),
    ],
  };
}

/**
 * Of the new readings of a repeated attempt, counts those as replayed that an earlier attempt dead-lettered before its message came back: Postgres
 * refused them for a time. They are in `books_dead`, and would be a surplus as stored. To be sent after {@link countStored}, in its transaction.
 */
export function countDeadLetteredBefore({ readings }: Batch, fresh: readonly number[]): pg.QueryConfig {
  const rows = fresh.map((ordinal) => readings[ordinal] as IdentifiedReading);
  return {
    name: 'count_dead_lettered_before',
    text: `
      update books_stored as known set stored = known.stored - c.readings, replayed = known.replayed + c.readings
      from (
        select r.minute, count(*)::int4 as readings
        from unnest($1::text[], $2::text[], $3::int8[], $4::timestamptz[], $5::int4[]) as r (device_id, epoch, seq, received_at, minute)
        where exists (
          select from dead_letters d
          where d.device_id = r.device_id and d.epoch = r.epoch and d.seq = r.seq and d.received_at = r.received_at
        )
        group by r.minute
      ) as c
      where known.minute = c.minute and known.writer = pg_backend_pid()`,
    values: [
      textArray(rows.map(({ deviceId }) => deviceId)),
      textArray(rows.map(({ epoch }) => epoch)),
      int8Array(rows.map(({ seq }) => seq)),
      timestamptzArray(rows.map(({ receivedAt }) => receivedAt)),
      int4Array(rows.map(({ receivedAt }) => minuteOf(receivedAt))),
    ],
  };
}

/** Counts the readings of a batch that were not new, and those of them whose content differs from what is stored. */
export function countDuplicates(
  { readings, streams }: Batch,
  { duplicates, conflicts }: { readonly duplicates: readonly number[]; readonly conflicts: ReadonlySet<number> },
  origin: Origin,
): pg.QueryConfig {
  const counts = new Map<string, { minute: number; deviceKey: number; duplicates: number; conflicting: number }>();
  for (const ordinal of duplicates) {
    const minute = minuteOf((readings[ordinal] as IdentifiedReading).receivedAt);
    const { deviceKey } = streams[ordinal]!;
    const key = `${minute}/${deviceKey}`;
    const count = counts.get(key) ?? { minute, deviceKey, duplicates: 0, conflicting: 0 };
    count.duplicates += 1;
    if (conflicts.has(ordinal)) count.conflicting += 1;
    counts.set(key, count);
  }
  const rows = [...counts.values()];
  const numbers = rows.map((row) => row.duplicates);
  const none = rows.map(() => 0);
  return {
    name: 'count_duplicates',
    text: `
      insert into books_duplicates as known (minute, device_key, writer, duplicates, repeats, conflicting)
      select c.minute, c.device_key, pg_backend_pid(), c.duplicates, c.repeats, c.conflicting
      from unnest($1::int4[], $2::int4[], $3::int4[], $4::int4[], $5::int4[]) as c (minute, device_key, duplicates, repeats, conflicting)
      on conflict (minute, device_key, writer) do update set duplicates = known.duplicates + excluded.duplicates,
        repeats = known.repeats + excluded.repeats, conflicting = known.conflicting + excluded.conflicting`,
    values: [
      int4Array(rows.map(({ minute }) => minute)),
      int4Array(rows.map(({ deviceKey }) => deviceKey)),
      int4Array(origin === 'first' ? numbers : none),
      int4Array(origin === 'first' ? none : numbers),
      int4Array(rows.map(({ conflicting }) => conflicting)),
    ],
  };
}
