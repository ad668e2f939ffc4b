import type pg from 'pg';

/** How long a key gives the same command again. */
export const commandKeyHours = 24;

const deletedPerStepMax = 10_000;

/** Deletes commands that ended before the time for which they are kept, in steps that each hold few locks, and forgets old keys. */
export async function deleteCommands(pool: pg.Pool, retentionDays: number): Promise<number> {
  let deleted = 0;
  for (;;) {
    const { rowCount } = await pool.query(
      `delete from commands where number in (
         select number from commands where finished_at < now() - $1 * interval '1 day' limit ${deletedPerStepMax})`,
      [retentionDays],
    );
    deleted += rowCount ?? 0;
    if ((rowCount ?? 0) < deletedPerStepMax) break;
  }
  await pool.query(
    `delete from command_jobs j where created_at < now() - $1 * interval '1 day'
       and not exists (select from commands c where c.job_number = j.number)`,
    [retentionDays],
  );
  for (const table of ['commands', 'command_jobs'])
    await pool.query(
      `update ${table} set idempotency_key = null
       where idempotency_key is not null and created_at < now() - interval '${commandKeyHours} hours'`,
    );
  return deleted;
}
