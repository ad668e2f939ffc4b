import type pg from 'pg';
import { DurabilityError } from './failure.ts';

/**
 * Makes each commit of this session wait until its WAL is flushed to disk, whatever the role, the database or the server is set to.
 * `remote_write` and `remote_apply` flush to the local disk too, and wait for a standby in addition: they stay.
 */
export async function pinSynchronousCommit(client: pg.ClientBase): Promise<void> {
  await client.query(`
    select set_config('synchronous_commit', 'on', false)
    where current_setting('synchronous_commit') not in ('on', 'remote_write', 'remote_apply')`);
}

/** @throws DurabilityError where a committed reading might not survive a power cut; whatever the connection throws */
export async function assertDurable(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ name: string }>(`
    select name from pg_settings
    where (name in ('fsync', 'full_page_writes') and setting <> 'on')
      or (name = 'synchronous_commit' and setting not in ('on', 'remote_write', 'remote_apply'))
    order by name`);
  if (rows.length > 0) throw new DurabilityError(rows.map(({ name }) => name));
}
