import { sql } from 'kysely';
import type { DeadLetterReason } from '@fleetwire/contracts/dead-letter';
import { collectRows, fetchUpTo, type PageBounds, sized } from '../bounded-rows.ts';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { type DeadLetterStatus, type Selection, selected } from './selection.ts';

interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** Times are epoch milliseconds. */
export interface DeadLetterSummary {
  readonly id: string;
  /** By arrival. */
  readonly number: number;
  readonly status: DeadLetterStatus;
  readonly reason: DeadLetterReason;
  readonly errorCode: string;
  readonly errorMessage: string;
  readonly fingerprint: string;
  readonly deviceId: string | null;
  readonly epoch: string | null;
  readonly seq: number | null;
  readonly attempts: number;
  readonly firstFailedAt: number;
  readonly lastFailedAt: number;
  readonly createdAt: number;
  readonly replays: number;
  readonly automaticReplays: number;
  /** How often it failed again after a replay. */
  readonly repeated: number;
  readonly payloadBytes: number;
}

export interface StoredDeadLetter extends DeadLetterSummary {
  readonly receivedAt: number | null;
  readonly payload: Buffer;
  readonly payloadEncoding: 'json' | 'base64';
  /** AMQP headers of the message that carried it; empty if they were not kept. */
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface DeadLetterGroup {
  readonly fingerprint: string;
  readonly reason: DeadLetterReason;
  readonly errorCode: string;
  readonly count: number;
  readonly byStatus: Readonly<Record<DeadLetterStatus, number>>;
  readonly repeated: number;
  readonly devices: number;
  readonly firstSeenAt: number;
  readonly lastSeenAt: number;
  /** The newest of them. */
  readonly exampleId: string;
  readonly exampleMessage: string;
  readonly exampleDeviceId: string | null;
}

/** A decision about a dead letter, or a replay of it. */
export interface DeadLetterEvent {
  readonly at: number;
  readonly actor: string;
  readonly action: string;
  readonly deadLetterId: string | null;
  readonly replayId: string | null;
  readonly details: Readonly<Record<string, unknown>>;
}

const summaryColumns = sql.raw(`
  d.id, d.number, d.status, d.reason, d.error_code as "errorCode", d.error_message as "errorMessage", d.fingerprint,
  d.device_id as "deviceId", d.epoch, d.seq, d.attempts, d.first_failed_at as "firstFailedAt", d.last_failed_at as "lastFailedAt",
  d.created_at as "createdAt", d.replays, d.automatic_replays as "automaticReplays", d.repeated,
  octet_length(d.payload) as "payloadBytes"`);

/** Newest arrivals first. `after`: the last `number` of the page before. */
export async function listDeadLetters(
  database: Database,
  options: Abortable & PageBounds & { readonly selection: Selection; readonly after?: number | undefined },
): Promise<(DeadLetterSummary & { readonly bytes: number })[]> {
  const { selection, after = Number.MAX_SAFE_INTEGER, signal } = options;
  return collectRows<DeadLetterSummary & { readonly bytes: number }>(options, async ({ limit, bytesMax }, last) => {
    const query = sql<DeadLetterSummary>`(
      select ${summaryColumns} from dead_letters d
      where ${selected(selection)} and d.number < ${last?.number ?? after} order by d.number desc limit ${limit})`;
    const documents = ['errorMessage', 'errorCode', 'deviceId', 'epoch'];
    return sized(await fetchUpTo(database, query, { documents, bytesMax, signal }));
  });
}

/** Groups of the same kind of failure, most frequent first. */
export async function groupDeadLetters(
  { pool, db }: Database,
  { selection, limit, signal }: Abortable & { readonly selection: Selection; readonly limit: number },
): Promise<DeadLetterGroup[]> {
  const query = sql<DeadLetterGroup>`
    with groups as (
      select fingerprint, count(*) as count, sum(repeated) as repeated, count(distinct device_id) as devices,
        min(first_failed_at) as first_seen, max(last_failed_at) as last_seen, max(number) as newest,
        count(*) filter (where status = 'open') as open, count(*) filter (where status = 'replaying') as replaying,
        count(*) filter (where status = 'stored') as stored, count(*) filter (where status = 'discarded') as discarded
      from dead_letters d where ${selected(selection)}
      group by fingerprint order by count(*) desc, fingerprint limit ${limit}
    )
    select g.fingerprint, d.reason, d.error_code as "errorCode", g.count, g.repeated, g.devices,
      jsonb_build_object('open', g.open, 'replaying', g.replaying, 'stored', g.stored, 'discarded', g.discarded) as "byStatus",
      g.first_seen as "firstSeenAt", g.last_seen as "lastSeenAt",
      d.id as "exampleId", d.error_message as "exampleMessage", d.device_id as "exampleDeviceId"
    from groups g join dead_letters d on d.number = g.newest
    order by g.count desc, g.fingerprint`;
  return fetchRows(pool, query.compile(db), signal);
}

/** How many failed last in each interval of one group; intervals without any are left out. `at` is the begin, in epoch milliseconds. */
export async function countDeadLetters(
  { pool, db }: Database,
  {
    selection,
    intervalMs,
    limit,
    signal,
  }: Abortable & { readonly selection: Selection; readonly intervalMs: number; readonly limit: number },
): Promise<{ readonly fingerprint: string; readonly at: number; readonly count: number }[]> {
  const begin = sql`date_bin(${`${intervalMs} ms`}::interval, d.last_failed_at, 'epoch')`;
  const query = sql<{ readonly fingerprint: string; readonly at: number; readonly count: number }>`
    with chosen as (
      select d.fingerprint from dead_letters d where ${selected(selection)}
      group by 1 order by count(*) desc, 1 limit ${limit})
    select d.fingerprint, ${begin} as at, count(*) as count
    from dead_letters d join chosen using (fingerprint) where ${selected(selection)}
    group by 1, 2 order by 1, 2`;
  return fetchRows(pool, query.compile(db), signal);
}

/** @returns undefined if no dead letter has this id */
export async function getDeadLetter(
  { pool, db }: Database,
  { id, signal }: Abortable & { readonly id: string },
): Promise<StoredDeadLetter | undefined> {
  const query = sql<Omit<StoredDeadLetter, 'headers'> & { readonly headers: string | null }>`
    select ${summaryColumns}, d.received_at as "receivedAt", d.payload, d.payload_encoding as "payloadEncoding", d.headers
    from dead_letters d where d.id = ${id}`;
  const [row] = await fetchRows(pool, query.compile(db), signal);
  return row && { ...row, headers: headersOf(row.headers) };
}

/** Decisions about one dead letter and its replays with their outcomes, newest first. */
export async function historyOfDeadLetter(
  { pool, db }: Database,
  { id, limit, signal }: Abortable & { readonly id: string; readonly limit: number },
): Promise<DeadLetterEvent[]> {
  const query = sql<DeadLetterEvent>`
    select at, actor, action, dead_letter_id as "deadLetterId", replay_id as "replayId", details
    from dead_letter_actions where dead_letter_id = ${id}
    union all
    select i.offered_at, r.created_by, 'replayed', i.dead_letter_id, i.replay_id,
      jsonb_strip_nulls(jsonb_build_object('source', r.source, 'outcome', i.outcome, 'settledAt', i.settled_at))
    from dead_letter_replay_items i join dead_letter_replays r on r.id = i.replay_id
    where i.dead_letter_id = ${id}
    order by 1 desc limit ${limit}`;
  return fetchRows(pool, query.compile(db), signal);
}

/** The audit, newest first. `after`: the last `number` of the page before. */
export async function listDeadLetterActions(
  database: Database,
  options: Abortable & PageBounds & { readonly after?: number | undefined },
): Promise<(DeadLetterEvent & { readonly number: number; readonly bytes: number })[]> {
  const { after = Number.MAX_SAFE_INTEGER, signal } = options;
  type Action = DeadLetterEvent & { readonly number: number };
  return collectRows<Action & { readonly bytes: number }>(options, async ({ limit, bytesMax }, last) => {
    const query = sql<Action>`(
      select number, at, actor, action, dead_letter_id as "deadLetterId", replay_id as "replayId", details
      from dead_letter_actions where number < ${last?.number ?? after} order by number desc limit ${limit})`;
    return sized(await fetchUpTo(database, query, { documents: ['details'], bytesMax, signal }));
  });
}

/** Headers were written as JSON by `insertDeadLetters`. */
export function headersOf(text: string | null): Record<string, unknown> {
  return text === null ? {} : (JSON.parse(text) as Record<string, unknown>);
}

/** The payload parsed as JSON; undefined if it is not JSON. */
export function jsonOfPayload(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}
