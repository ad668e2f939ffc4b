import { sql } from 'kysely';
import { collectRows, fetchUpTo, type PageBounds, sized } from '../bounded-rows.ts';
import { fetchRows } from '../cancellable.ts';
import type { Database } from '../database.ts';
import { commandColumns, type CommandMode, type CommandState, fromCommands, type StoredCommand } from './command.ts';

interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** @returns undefined where there is none */
export async function getCommand(
  { db, pool }: Database,
  { id, signal }: Abortable & { readonly id: string },
): Promise<StoredCommand | undefined> {
  const query = sql<StoredCommand>`select ${commandColumns} ${fromCommands} where c.id = ${id}`;
  return (await fetchRows(pool, query.compile(db), signal))[0];
}

/** The commands of one device, newest first. `before`: the number of the last one on the page before. */
export async function commandsOfDevice(
  database: Database,
  options: Abortable &
    PageBounds & {
      readonly deviceId: string;
      readonly states?: readonly CommandState[] | undefined;
      readonly before?: number | undefined;
    },
): Promise<(StoredCommand & { readonly bytes: number })[]> {
  const { deviceId, states, before = Number.MAX_SAFE_INTEGER, signal } = options;
  const inState = states === undefined ? sql`true` : sql`c.state = any(${states}::text[])`;
  return collectRows<StoredCommand & { readonly bytes: number }>(options, async ({ limit, bytesMax }, last) => {
    const query = sql<StoredCommand>`(
      select ${commandColumns} ${fromCommands}
      where c.device_id = ${deviceId} and ${inState} and c.number < ${last?.number ?? before} order by c.number desc limit ${limit})`;
    const documents = ['args', 'result', 'error', 'lateResult'];
    return sized(await fetchUpTo(database, query, { documents, bytesMax, signal }));
  });
}

/** How many commands have not ended. */
export async function countPendingCommands(
  { db, pool }: Database,
  { signal }: Abortable,
): Promise<{ mode: CommandMode; count: number }[]> {
  const query = sql<{ mode: CommandMode; count: number }>`
    select mode, count(*) from commands where finished_at is null group by 1`;
  return fetchRows(pool, query.compile(db), signal);
}
