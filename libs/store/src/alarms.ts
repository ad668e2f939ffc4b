import { sql } from 'kysely';
import { fetchRows } from './cancellable.ts';
import type { Database } from './database.ts';

/** Times are epoch milliseconds. */
export interface StoredAlarm {
  readonly name: string;
  /** The queue or circuit that it is about; empty for all. */
  readonly subject: string;
  readonly summary: string;
  readonly startedAt: number;
  readonly endedAt: number | null;
}

/** As one instance sees it. */
interface SeenAlarm extends Pick<StoredAlarm, 'name' | 'subject' | 'summary'> {
  /** Others may not see it. */
  readonly isOfOneInstance: boolean;
}

interface Signal {
  readonly signal?: AbortSignal | undefined;
}

const keptDays = 7;
const keptMax = 10_000;
/** Three samples. */
const sameAlarmSeconds = 45;

/**
 * Ends the open alarms that are not among these, and opens those that are new. One that only some instances see, such as an open circuit, goes on if
 * it ended just now: they write in turn.
 */
export async function updateAlarms(
  { db, pool }: Database,
  { alarms, signal }: Signal & { readonly alarms: readonly SeenAlarm[] },
): Promise<void> {
  const query = sql`
    with present as (
      select * from jsonb_to_recordset(${JSON.stringify(alarms)}::jsonb) as p (name text, subject text, summary text, "isOfOneInstance" boolean)),
    expired as (
      delete from alarms where ended_at < now() - ${sql.lit(keptDays)} * interval '1 day'
        or (ended_at is not null and number < (select max(number) from alarms) - ${sql.lit(keptMax)})),
    ended as (
      update alarms a set ended_at = now() where ended_at is null
        and not exists (select from present p where p.name = a.name and p.subject = a.subject)),
    changed as (
      update alarms a set summary = p.summary from present p
      where ended_at is null and p.name = a.name and p.subject = a.subject and p.summary <> a.summary),
    continued as (
      update alarms a set ended_at = null, summary = p.summary from present p
      where p."isOfOneInstance" and ended_at > now() - ${sql.lit(sameAlarmSeconds)} * interval '1 second'
        and a.number = (select max(number) from alarms b where b.name = p.name and b.subject = p.subject)
      returning a.name, a.subject)
    insert into alarms (name, subject, summary)
    select name, subject, summary from present p
    where not exists (select from alarms a where a.ended_at is null and a.name = p.name and a.subject = p.subject)
      and not exists (select from continued c where c.name = p.name and c.subject = p.subject)
    on conflict do nothing`;
  await fetchRows(pool, query.compile(db), signal);
}

/** Open ones and those that ended since, the newest first. */
export async function readAlarms(
  { db, pool }: Database,
  { since, limit, signal }: Signal & { readonly since: number; readonly limit: number },
): Promise<StoredAlarm[]> {
  const query = sql<StoredAlarm>`
    select name, subject, summary, started_at as "startedAt", ended_at as "endedAt" from alarms
    where ended_at is null or ended_at >= ${new Date(since).toISOString()}
    order by ended_at is null desc, number desc limit ${limit}`;
  return fetchRows(pool, query.compile(db), signal);
}
