import { minuteOf } from '@fleetwire/contracts/edge-report';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import type { Batch } from './batch-statements.ts';
import { int4Array } from './binary-arrays.ts';

/**
 * How readings reach the writer, for reconciliation.
 *
 * | Origin | Meaning | New readings count as | Readings already stored count as |
 * | --- | --- | --- | --- |
 * | `first` | the first attempt at a message from ingest-ws | `stored` | `duplicates` |
 * | `repeat` | an earlier attempt may have committed although its result was lost | `stored` | `repeats` |
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

/** Counts the readings of a batch that were not new. */
export function countDuplicates(
  { readings, streams }: Batch,
  fresh: readonly number[],
  origin: Origin,
): pg.QueryConfig {
  const isFresh = new Set(fresh);
  const counts = new Map<string, { minute: number; deviceKey: number; duplicates: number }>();
  for (const [ordinal, { receivedAt }] of readings.entries()) {
    if (isFresh.has(ordinal)) continue;
    const minute = minuteOf(receivedAt);
    const { deviceKey } = streams[ordinal]!;
    const key = `${minute}/${deviceKey}`;
    const count = counts.get(key) ?? { minute, deviceKey, duplicates: 0 };
    count.duplicates += 1;
    counts.set(key, count);
  }
  const rows = [...counts.values()];
  const duplicates = rows.map((row) => row.duplicates);
  const none = rows.map(() => 0);
  return {
    name: 'count_duplicates',
    text: `
      insert into books_duplicates as known (minute, device_key, writer, duplicates, repeats)
      select c.minute, c.device_key, pg_backend_pid(), c.duplicates, c.repeats
      from unnest($1::int4[], $2::int4[], $3::int4[], $4::int4[]) as c (minute, device_key, duplicates, repeats)
      on conflict (minute, device_key, writer) do update set duplicates = known.duplicates + excluded.duplicates, repeats = known.repeats + excluded.repeats`,
    values: [
      int4Array(rows.map(({ minute }) => minute)),
      int4Array(rows.map(({ deviceKey }) => deviceKey)),
      int4Array(origin === 'first' ? duplicates : none),
      int4Array(origin === 'first' ? none : duplicates),
    ],
  };
}
