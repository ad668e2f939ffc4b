import { sql } from 'kysely';
import { fetchRows } from './cancellable.ts';
import type { Database } from './database.ts';
import { sequenceBlockSize } from './sequence-blocks.ts';

/** The sequence numbers of one boot of a device, as far as they are stored. */
export interface SequenceSummary {
  readonly streamKey: number;
  readonly epoch: string;
  readonly first: number;
  readonly last: number;
  readonly stored: number;
  /** Duplicates whose content differed from the stored reading; they were not stored. */
  readonly conflicting: number;
  /** The newest of them. */
  readonly newestConflicts: readonly StreamConflict[];
}

/** Times are epoch milliseconds; `storedTs` and `refusedTs` are device times. */
interface StreamConflict {
  readonly seq: number;
  readonly storedTs: number;
  readonly refusedTs: number;
  readonly receivedAt: number;
}

/** Numbers missing between two stored ones; `from` and `to` are missing, too. */
export interface Gap {
  readonly streamKey: number;
  readonly epoch: string;
  readonly from: number;
  readonly to: number;
  /** How many of them are dead letters. */
  readonly deadLettered: number;
}

export interface GapsQuery {
  readonly streams: readonly SequenceSummary[];
  readonly deviceId: string;
  readonly limit: number;
  /** The last gap of the page before. */
  readonly after?: { readonly streamKey: number; readonly to: number } | undefined;
  readonly signal?: AbortSignal | undefined;
}

const sequencesMax = 100;

/**
 * Reads one row of the sequence ledger for about a thousand readings.
 * @param epoch one boot; without it the newest boots that the device numbered itself
 */
export function sequencesOf(
  { db, pool }: Database,
  { deviceId, epoch, signal }: { deviceId: string; epoch?: string | undefined; signal?: AbortSignal | undefined },
): Promise<SequenceSummary[]> {
  const chosen = epoch === undefined ? sql`not starts_with(s.epoch, ${serverEpochPrefix})` : sql`s.epoch = ${epoch}`;
  const query = sql<SequenceSummary>`
    with chosen as (
      select s.stream_key, s.epoch from streams s join devices d on d.device_key = s.device_key
      where d.device_id = ${deviceId} and ${chosen}
      order by s.stream_key desc limit ${sequencesMax}
    )
    select c.stream_key as "streamKey", c.epoch, min(lower(r.range)) as first, max(upper(r.range)) - 1 as last,
      sum(upper(r.range) - lower(r.range))::int8 as stored, coalesce(x.conflicting, 0)::int8 as conflicting, coalesce(x.newest, '[]') as "newestConflicts"
    from chosen c join sequence_blocks b on b.stream_key = c.stream_key cross join unnest(b.seen) as r (range)
    left join sequence_conflicts x on x.stream_key = c.stream_key
    group by c.stream_key, c.epoch, x.stream_key order by c.stream_key`;
  return fetchRows(pool, query.compile(db), signal);
}

/** Epochs that the server assigns to devices that do not number their readings: gaps in them say nothing about the device. */
export const serverEpochPrefix = 'auto-';

/** Gaps by stream and number. Ranges are read in the order of the primary key, and only as far as the page goes. */
export function gaps({ db, pool }: Database, query: GapsQuery): Promise<Gap[]> {
  const { streams, deviceId, limit, after, signal } = query;
  const ahead = streams.filter(({ streamKey }) => after === undefined || streamKey >= after.streamKey);
  if (ahead.length === 0) return Promise.resolve([]);
  const from =
    after === undefined
      ? sql`true`
      : sql`(b.stream_key, b.block) >= (${after.streamKey}::int4, ${Math.floor(after.to / sequenceBlockSize)}::int8)`;
  const beyond =
    after === undefined ? sql`true` : sql`(h.stream_key > ${after.streamKey}::int4 or h.first > ${after.to}::int8)`;
  const statement = sql<Gap>`
    select h.stream_key as "streamKey", s.epoch, h.first as "from", h.next - 1 as "to", (
      select count(distinct l.seq) from dead_letters l
      where l.device_id = ${deviceId} and l.epoch = s.epoch and l.seq >= h.first and l.seq < h.next
    ) as "deadLettered"
    from (
      select b.stream_key, upper(r.range) as first,
        lead(lower(r.range)) over (partition by b.stream_key order by b.block, lower(r.range)) as next
      from sequence_blocks b cross join unnest(b.seen) as r (range)
      where b.stream_key = any(${ahead.map(({ streamKey }) => streamKey)}::int4[]) and ${from}
    ) as h join streams s on s.stream_key = h.stream_key
    where h.next > h.first and ${beyond}
    order by h.stream_key, h.first limit ${limit}`;
  return fetchRows(pool, statement.compile(db), signal);
}
