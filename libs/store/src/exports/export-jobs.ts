import { sql } from 'kysely';
import type pg from 'pg';
import { collectRows, fetchUpTo, type PageBounds } from '../bounded-rows.ts';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { inTransaction } from '../transaction.ts';

export const exportJobStates = ['queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired'] as const;

/** Who made a job. */
export interface JobOwner {
  readonly role: string;
  readonly sub: string;
}

export interface StoredExportJob {
  /** By age. */
  readonly number: number;
  readonly id: string;
  readonly state: (typeof exportJobStates)[number];
  readonly role: string;
  readonly createdBy: string;
  readonly question: unknown;
  readonly format: string;
  /** How often it was begun. */
  readonly attempt: number;
  /** Of the attempt that writes its file, or has written it. */
  readonly run: string | null;
  /** The folder with its file. */
  readonly folder: string | null;
  readonly rows: number;
  readonly bytes: number;
  readonly estimatedRows: number | null;
  /** SHA-256 of the file, base64url. */
  readonly digest: string | null;
  readonly completeUntil: number | null;
  readonly problem: object | null;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  readonly expiresAt: number | null;
}

interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** One attempt of a job. What an attempt reports that was replaced by another one changes nothing. */
interface Attempt extends Abortable {
  readonly id: string;
  readonly run: string;
}

/** Days for which a job that has ended, and has no file, is still listed. */
const exportJobRecordDays = 7;
/** Of one caller, without those that it has pending or as files: a caller that makes jobs and cancels them fills no disk. */
const endedJobsPerCallerMax = 100;

/** A file past its time is expired, even where it has not been removed yet. */
const columns = sql.raw(`
  number, id, role, created_by as "createdBy", question, format, attempt, run, folder, rows, bytes, estimated_rows as "estimatedRows",
  case when state = 'succeeded' and expires_at <= now() then 'expired' else state end as state,
  digest, complete_until as "completeUntil", problem, created_at as "createdAt", started_at as "startedAt", finished_at as "finishedAt",
  expires_at as "expiresAt"`);

/** Jobs that take a place: those that have not ended, and those with a file. */
const isKept = sql.raw(`(state in ('queued', 'running') or (state = 'succeeded' and expires_at > now()))`);

/** Jobs are entered one after the other, so that the bounds are exact. */
const enteringLock = 'fleetwire export jobs';

export interface NewExportJob extends Abortable {
  readonly id: string;
  readonly owner: JobOwner;
  readonly question: object;
  readonly format: string;
  readonly perCallerMax: number;
  readonly pendingMax: number;
  /** Queues it, in the transaction that enters it. */
  readonly enqueue: (client: pg.PoolClient) => Promise<void>;
}

/** @returns which bound it would exceed, and by how many jobs it is reached, if it is not entered */
export async function createExportJob(
  { db, pool }: Database,
  { id, owner, question, format, perCallerMax, pendingMax, enqueue }: NewExportJob,
): Promise<StoredExportJob | { readonly full: 'caller' | 'queue'; readonly jobs: number }> {
  return inTransaction(pool, async (client) => {
    await client.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [enteringLock]);
    const { own, pending } = await one<{ own: number; pending: number }>(
      client,
      sql`select count(*) filter (where created_by = ${owner.sub} and role = ${owner.role}) as own,
            count(*) filter (where state in ('queued', 'running')) as pending
          from export_jobs where ${isKept}`.compile(db),
    );
    if (own >= perCallerMax) return { full: 'caller', jobs: own };
    if (pending >= pendingMax) return { full: 'queue', jobs: pending };
    const forget = sql`
      delete from export_jobs where number in (
        select number from export_jobs where ${isOf(owner)} and not ${isKept}
        order by number desc offset ${endedJobsPerCallerMax}::int4)`;
    await one(client, forget.compile(db));
    const insert = sql`
      insert into export_jobs (id, state, role, created_by, question, format)
      values (${id}, 'queued', ${owner.role}, ${owner.sub}, ${JSON.stringify(question)}::json, ${format}) returning ${columns}`;
    const job = await one<StoredExportJob>(client, insert.compile(db));
    await enqueue(client);
    return job;
  });
}

async function one<R>(client: pg.PoolClient, query: { readonly sql: string; readonly parameters: readonly unknown[] }) {
  const { rows } = await client.query(query.sql, [...query.parameters]);
  return rows[0] as R;
}

/** @param owner undefined: of any owner. @returns undefined where there is none that the owner may see */
export async function getExportJob(
  { db, pool }: Database,
  { id, owner, signal }: Abortable & { readonly id: string; readonly owner: JobOwner | undefined },
): Promise<StoredExportJob | undefined> {
  const query = sql<StoredExportJob>`select ${columns} from export_jobs where id = ${id} and ${isOf(owner)}`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

interface SizedExportJob {
  readonly job: StoredExportJob;
  /** As JSON; a question may name thousands of devices. */
  readonly bytes: number;
}

/** The newest first. @param before the number of the last job on the page before */
export async function listExportJobs(
  database: Database,
  {
    owner,
    before = Number.MAX_SAFE_INTEGER,
    signal,
    ...bounds
  }: Abortable & PageBounds & { readonly owner: JobOwner | undefined; readonly before?: number | undefined },
): Promise<SizedExportJob[]> {
  return collectRows<SizedExportJob>(bounds, async ({ limit, bytesMax }, last) => {
    const query = sql<StoredExportJob>`(
      select ${columns} from export_jobs where ${isOf(owner)} and number < ${last?.job.number ?? before}
      order by number desc limit ${limit})`;
    const { rows, isCut } = await fetchUpTo(database, query, { documents: ['question', 'problem'], bytesMax, signal });
    return { rows: rows.map((job) => ({ job, bytes: Buffer.byteLength(JSON.stringify(job)) })), isCut };
  });
}

function isOf(owner: JobOwner | undefined) {
  return owner === undefined ? sql`true` : sql`(created_by = ${owner.sub} and role = ${owner.role})`;
}

/** Begins an attempt, in place of the one before. @returns undefined where the job has ended, or is gone */
export async function startExportJob(
  { db, pool }: Database,
  { id, run, folder, signal }: Attempt & { readonly folder: string },
): Promise<StoredExportJob | undefined> {
  const query = sql<StoredExportJob>`
    update export_jobs set state = 'running', run = ${run}, folder = ${folder}, attempt = attempt + 1, rows = 0, bytes = 0,
      estimated_rows = null, started_at = now(), progress_at = now()
    where id = ${id} and state in ('queued', 'running') returning ${columns}`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

interface Progress extends Attempt {
  readonly rows: number;
  readonly bytes: number;
  readonly estimatedRows: number | undefined;
}

interface Reported {
  /** False where the attempt is to stop: it was cancelled, or replaced by another one. */
  readonly isWanted: boolean;
  /** Of the files of other jobs in the same folder, as far as they have been reported. */
  readonly othersBytes: number;
}

export async function reportExportJob({ db, pool }: Database, progress: Progress): Promise<Reported> {
  const { id, run, rows, bytes, estimatedRows = null, signal } = progress;
  const query = sql<Reported>`
    with reported as (
      update export_jobs set rows = ${rows}, bytes = ${bytes}, estimated_rows = ${estimatedRows}, progress_at = now()
      where id = ${id} and run = ${run} and state = 'running' returning folder
    )
    select exists (select from reported) as "isWanted", (
      select coalesce(sum(bytes), 0)::int8 from export_jobs
      where ${isKept} and folder = (select folder from reported) and id <> ${id}
    ) as "othersBytes"`;
  return (await fetchRows(pool, query.compile(db), signal))[0]!;
}

interface Finished extends Attempt {
  readonly rows: number;
  readonly bytes: number;
  readonly digest: string;
  readonly completeUntil: number | null;
  readonly keptMs: number;
}

/** To be called when the file is complete on the disk. @returns false where the file is not to be kept */
export async function finishExportJob(
  database: Database,
  { rows, bytes, digest, completeUntil, keptMs, ...attempt }: Finished,
): Promise<boolean> {
  const completeAt = completeUntil === null ? null : new Date(completeUntil).toISOString();
  return changeAttempt(
    database,
    attempt,
    sql`state = 'succeeded', rows = ${rows}, bytes = ${bytes}, digest = ${digest}, complete_until = ${completeAt}::timestamptz,
        problem = null, finished_at = now(), expires_at = now() + ${keptMs}::float8 * interval '1 ms'`,
  );
}

/** The attempt has failed, and another one follows. @param problem why it has failed, until the job ends */
export async function requeueExportJob(
  database: Database,
  { problem, ...attempt }: Attempt & { readonly problem: object },
): Promise<boolean> {
  return changeAttempt(
    database,
    attempt,
    sql`state = 'queued', rows = 0, bytes = 0, estimated_rows = null, problem = ${JSON.stringify(problem)}::json`,
  );
}

export async function failExportJob(
  database: Database,
  { problem, ...attempt }: Attempt & { readonly problem: object },
): Promise<boolean> {
  return changeAttempt(
    database,
    attempt,
    sql`state = 'failed', problem = ${JSON.stringify(problem)}::json, finished_at = now()`,
  );
}

async function changeAttempt(
  { db, pool }: Database,
  { id, run, signal }: Attempt,
  changes: ReturnType<typeof sql>,
): Promise<boolean> {
  const query = sql`update export_jobs set ${changes} where id = ${id} and run = ${run} and state = 'running' returning id`;
  return (await fetchRows(pool, query.compile(db), signal)).length > 0;
}

/** Cancels a job that has not ended, and removes any other. @returns the job as it is now, or was; undefined where there is none */
export async function endExportJob(
  { db, pool }: Database,
  { id, owner, signal }: Abortable & { readonly id: string; readonly owner: JobOwner | undefined },
): Promise<StoredExportJob | undefined> {
  const query = sql<StoredExportJob>`
    with cancelled as (
      update export_jobs set state = 'cancelled', problem = null, finished_at = now()
      where id = ${id} and ${isOf(owner)} and state in ('queued', 'running') returning ${columns}
    ), removed as (
      delete from export_jobs
      where id = ${id} and ${isOf(owner)} and state not in ('queued', 'running') returning ${columns}
    )
    select * from cancelled union all select * from removed`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

/** Marks files past their time, and forgets jobs that have ended long ago. */
export async function expireExportJobs({ db, pool }: Database, { signal }: Abortable): Promise<void> {
  const query = sql`
    with forgotten as (
      delete from export_jobs where state not in ('queued', 'running', 'succeeded')
        and coalesce(expires_at, finished_at) < now() - ${exportJobRecordDays}::int4 * interval '1 day'
    )
    update export_jobs set state = 'expired' where state = 'succeeded' and expires_at <= now()`;
  await fetchRows(pool, query.compile(db), signal);
}

/** Of these jobs, the attempt whose file is to be kept. */
export async function keptRuns(
  { db, pool }: Database,
  { ids, signal }: Abortable & { readonly ids: readonly string[] },
): Promise<Map<string, string | null>> {
  const query = sql<{ id: string; run: string | null }>`
    select id, run from export_jobs where id = any(${ids}::uuid[]) and (state = 'running' or (state = 'succeeded' and expires_at > now()))`;
  const rows = await fetchRows(pool, query.compile(db), signal);
  return new Map(rows.map(({ id, run }) => [id, run]));
}

/** Jobs that have not ended, and of which nothing was heard for this long. */
export async function silentExportJobs(
  { db, pool }: Database,
  { silentMs, signal }: Abortable & { readonly silentMs: number },
): Promise<string[]> {
  const query = sql<{ id: string }>`
    select id from export_jobs where state in ('queued', 'running') and progress_at < now() - ${silentMs}::float8 * interval '1 ms'
    order by number limit 1000`;
  return (await fetchRows(pool, query.compile(db), signal)).map(({ id }) => id);
}

/** Of a job that its queue has given up. */
export async function abandonExportJob(
  { db, pool }: Database,
  { id, problem, signal }: Abortable & { readonly id: string; readonly problem: object },
): Promise<boolean> {
  const query = sql`
    update export_jobs set state = 'failed', problem = ${JSON.stringify(problem)}::json, finished_at = now()
    where id = ${id} and state in ('queued', 'running') returning id`;
  return (await fetchRows(pool, query.compile(db), signal)).length > 0;
}
