import { sql } from 'kysely';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { changedColumns, type ChangedCommand } from './command.ts';

/**
 * Cancels a command that is `queued` or `sent`. One that is `sent` may be executed all the same; its answer is kept then.
 * @returns the command, if it was cancelled by this call
 */
export async function cancelCommand(
  { db, pool }: Database,
  { id, actor, signal }: { readonly id: string; readonly actor: string; readonly signal?: AbortSignal | undefined },
): Promise<ChangedCommand | undefined> {
  const query = sql<ChangedCommand>`
    update commands set state = 'cancelled', finished_at = now(), due_at = null, cancelled_by = ${actor}
    where id = ${id} and state in ('queued', 'sent') returning ${sql.raw(changedColumns)}`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}
