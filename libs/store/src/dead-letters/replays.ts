import { sql } from 'kysely';
import type { Metrics } from '@fleetwire/contracts/metrics';
import { collectRows, fetchUpTo, type PageBounds, sized } from '../bounded-rows.ts';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { type Selection, selected } from './selection.ts';

/**
 * | State | Meaning | Followed by |
 * | --- | --- | --- |
 * | `queued` | no runner has taken it yet | `running`, `cancelled` |
 * | `running` | a runner publishes, or its lease has to expire first | `settling`, `done`, `cancelled` |
 * | `settling` | everything is published, some outcomes are not known yet | `done` |
 * | `done` | all outcomes are known | |
 * | `cancelled` | nothing more is published; outcomes are still counted | |
 * | `dry-run` | it was only counted | |
 */
export const replayStates = ['queued', 'running', 'settling', 'done', 'cancelled', 'dry-run'] as const;
type ReplayState = (typeof replayStates)[number];

export const replaySources = ['operator', 'edit', 'automatic'] as const;
type ReplaySource = (typeof replaySources)[number];

/** The reading as an operator edited it, published instead of the one in the dead letter. */
export interface EditedCopy {
  readonly deviceId: string;
  readonly epoch: string;
  readonly seq: number;
  /** Epoch milliseconds. */
  readonly ts: number;
  readonly metrics: Metrics;
}

/** A job that publishes dead letters again. Times are epoch milliseconds. */
export interface Replay {
  readonly id: string;
  readonly number: number;
  readonly source: ReplaySource;
  readonly state: ReplayState;
  readonly createdBy: string;
  readonly createdAt: number;
  readonly finishedAt: number | null;
  readonly selection: Selection;
  readonly copy: EditedCopy | null;
  readonly ratePerSecond: number;
  /** Largest number of dead letters it publishes. */
  readonly matched: number;
  /** The last dead letter that was published, by number. */
  readonly position: number;
  readonly published: number;
  readonly stored: number;
  readonly failedAgain: number;
  /** Of which nothing was ever heard: messages that hold no identity to look for. */
  readonly unknown: number;
}

interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

const replayColumns = sql.raw(`
  r.id, r.number, r.source, r.state, r.created_by as "createdBy", r.created_at as "createdAt", r.finished_at as "finishedAt",
  r.selection, r.copy, r.rate_per_second as "ratePerSecond", r.matched, r.position, r.published, r.stored,
  r.failed_again as "failedAgain", r.unknown`);

export interface NewReplay extends Abortable {
  readonly id: string;
  readonly source: ReplaySource;
  readonly createdBy: string;
  readonly selection: Selection;
  readonly copy?: EditedCopy | undefined;
  readonly ratePerSecond: number;
  /** Largest number of dead letters it publishes. */
  readonly max: number;
  readonly dryRun?: boolean;
  /** The entry in the audit. */
  readonly action: {
    readonly action: string;
    readonly deadLetterId?: string | undefined;
    readonly details: Readonly<Record<string, unknown>>;
  };
}

/**
 * Creates a job for the dead letters that match now; those that arrive later are not part of it.
 * @returns undefined for an automatic replay while another one is unfinished
 */
export async function createReplay({ pool, db }: Database, replay: NewReplay): Promise<Replay | undefined> {
  const { id, source, createdBy, selection, copy, ratePerSecond, max, dryRun = false, action, signal } = replay;
  const query = sql<Replay>`
    with matching as (
      select least(count(*), ${max}::int8) as count from dead_letters d where ${selected(selection)}
    ), bounds as (
      select coalesce(max(number), 0) as last from dead_letters
    ), r as (
      insert into dead_letter_replays (id, source, state, created_by, selection, copy, rate_per_second, matched, number_max, finished_at)
      select ${id}, ${source}, ${dryRun ? 'dry-run' : 'queued'}, ${createdBy}, ${JSON.stringify(selection)}::jsonb,
        ${copy === undefined ? null : JSON.stringify(copy)}::jsonb, ${ratePerSecond}::float8, matching.count, bounds.last,
        case when ${dryRun}::bool then now() end
      from matching, bounds
      on conflict (source) where source = 'automatic' and state in ('queued', 'running') do nothing
      returning *
    ), noted as (
      insert into dead_letter_actions (actor, action, dead_letter_id, replay_id, details)
      select ${createdBy}, ${action.action}, ${action.deadLetterId ?? null}, id, ${JSON.stringify(action.details)}::jsonb from r
    )
    select ${replayColumns} from r`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

/** Newest first. `after`: the last `number` of the page before. */
export async function listReplays(
  database: Database,
  options: Abortable & PageBounds & { readonly after?: number | undefined },
): Promise<(Replay & { readonly bytes: number })[]> {
  const { after = Number.MAX_SAFE_INTEGER, signal } = options;
  return collectRows<Replay & { readonly bytes: number }>(options, async ({ limit, bytesMax }, last) => {
    const query = sql<Replay>`(
      select ${replayColumns} from dead_letter_replays r where r.number < ${last?.number ?? after}
      order by r.number desc limit ${limit})`;
    return sized(await fetchUpTo(database, query, { documents: ['selection'], bytesMax, signal }));
  });
}

/** @returns undefined if no replay has this id */
export async function getReplay(
  { pool, db }: Database,
  { id, signal }: Abortable & { readonly id: string },
): Promise<Replay | undefined> {
  const query = sql<Replay>`select ${replayColumns} from dead_letter_replays r where r.id = ${id}`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

/** The number of queued and running replays, counted up to `limit`. */
export async function countUnfinishedReplays(
  { pool, db }: Database,
  { limit, signal }: Abortable & { readonly limit: number },
): Promise<number> {
  const query = sql<{ count: number }>`
    select count(*) from (select from dead_letter_replays where state in ('queued', 'running') limit ${limit}) as counted`;
  return (await fetchRows(pool, query.compile(db), signal))[0]?.count ?? 0;
}

/**
 * Ends a queued or running job; its runner notices before the next batch. Cancelling a cancelled job changes nothing.
 * @returns the job after that, whether or not it could be cancelled; undefined if there is none
 */
export async function cancelReplay(
  { pool, db }: Database,
  { id, actor, signal }: Abortable & { readonly id: string; readonly actor: string },
): Promise<Replay | undefined> {
  const query = sql`
    with cancelled as (
      update dead_letter_replays set state = 'cancelled', finished_at = now(), leased_by = null, leased_until = null
      where id = ${id} and state in ('queued', 'running') returning id
    )
    insert into dead_letter_actions (actor, action, replay_id) select ${actor}, 'replay-cancelled', id from cancelled`;
  await fetchRows(pool, query.compile(db), signal);
  return getReplay({ pool, db } as Database, { id, signal });
}
