import type pg from 'pg';

/**
 * Invariant R, in every snapshot: a tile (one device and one hour) in `[built_from, built_until)` that has no mark has exactly the rollup rows
 * that its readings give; one of the kind `raw` has none, and one that is not there has no readings. docs/rollups.md has the whole argument.
 *
 * Each transaction that changes readings takes this lock, shared, as its first, reads the horizon in a *later statement*, and marks the
 * tiles below it that it changes. The horizon moves under the exclusive lock: a writer that has read the old horizon has committed before,
 * so whatever is built below the new one sees its rows. Lock and horizon in one statement would be wrong: its snapshot is older than the lock.
 */
const horizonLockId = 4_602_715_114;
/** Held by the one session that builds tiles. */
const builderLockId = 4_602_715_115;

/** The start of each transaction that changes readings. Before any row lock, so that a waiting mover never waits for a waiting writer. */
export const beginChange = `begin; select pg_advisory_xact_lock_shared(${horizonLockId})`;

/** Writers wait for the mover at most so long. */
const moveWaitMs = 50;
const msPerHour = 60 * 60 * 1_000;

export function hourOf(epochMs: number): number {
  return Math.floor(epochMs / msPerHour);
}

export function startOfHour(hour: number): number {
  return hour * msPerHour;
}

/** Hours since the epoch; migrations/0027-rollups.ts says what each means. */
export interface RollupState {
  readonly horizon: number;
  readonly builtFrom: number;
  readonly builtUntil: number;
  readonly rawFrom: number;
  readonly finalUntil: number;
  readonly minutesFrom: number;
}

/** Of `rollup_state`, as {@link RollupState}. */
export const stateColumns = `horizon, built_from as "builtFrom", built_until as "builtUntil", raw_from as "rawFrom", final_until as "finalUntil",
  minutes_from as "minutesFrom"`;

export async function readRollupState(queryable: Pick<pg.ClientBase, 'query'>): Promise<RollupState> {
  const { rows } = await queryable.query<RollupState & pg.QueryResultRow>({
    name: 'rollup_state',
    text: `select ${stateColumns} from rollup_state`,
  });
  return rows[0]!;
}

/** What a writer reads, after it has the lock: one row. */
export const readHorizon: pg.QueryConfig = {
  name: 'read_horizon',
  text: 'select horizon, raw_from as "rawFrom" from rollup_state',
};
export type Horizon = Pick<RollupState, 'horizon' | 'rawFrom'>;

/** The session that keeps the horizon from moving for the longest time. */
export interface HorizonHolder {
  readonly pid: number;
  readonly application: string;
  readonly seconds: number;
}

/**
 * Runs an update of the state while no transaction that changes readings is open. Lock, update and commit are one query, without parameters:
 * writers never wait for this process, which may be frozen at any moment. Each statement of it has a snapshot of its own.
 * @returns the session that holds the lock, where it does so for longer than writers may wait
 */
export async function changeHorizon(client: pg.ClientBase, update: string): Promise<HorizonHolder | undefined> {
  try {
    await client.query(
      `begin; set local lock_timeout = ${moveWaitMs}; select pg_advisory_xact_lock(${horizonLockId}); ${update}; commit`,
    );
  } catch (error) {
    await client.query('rollback');
    if ((error as { code?: string }).code !== '55P03') throw error;
    return holder(client);
  }
  return undefined;
}

async function holder(client: pg.ClientBase): Promise<HorizonHolder> {
  const { rows } = await client.query<HorizonHolder & pg.QueryResultRow>(
    `select a.pid, a.application_name as application, extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds
     from pg_locks l join pg_stat_activity a using (pid)
     where l.locktype = 'advisory' and l.granted and l.database = (select oid from pg_database where datname = current_database())
       and (l.classid::int8 << 32 | l.objid::int8) = $1 order by a.xact_start limit 1`,
    [horizonLockId],
  );
  return rows[0] ?? { pid: 0, application: '', seconds: 0 };
}

/** Whole hours that ended longer ago than this, on the clock of Postgres, lie below the horizon. */
const horizonDelayMs = 5 * 60_000;

/** The first hour that is not. */
const dueHour = `floor((extract(epoch from clock_timestamp()) - ${horizonDelayMs / 1_000}) / 3600)::int4`;

export async function readDueHour(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ due: number }>(`select ${dueHour} as due`);
  return rows[0]!.due;
}

/**
 * Moves the horizon where it is due.
 * @returns undefined where it is not
 */
export async function moveDueHorizon(
  client: pg.ClientBase,
): Promise<{ readonly horizon: number; readonly holder: HorizonHolder | undefined } | undefined> {
  const { rows } = await client.query<{ due: number; horizon: number }>(
    `select ${dueHour} as due, horizon from rollup_state`,
  );
  const { due, horizon } = rows[0]!;
  return due > horizon ? { horizon: due, holder: await moveHorizon(client, due) } : undefined;
}

export function moveHorizon(client: pg.ClientBase, hour: number): Promise<HorizonHolder | undefined> {
  return changeHorizon(client, `update rollup_state set horizon = greatest(horizon, ${hour})`);
}

/** The connection that may build. */
export type Builder = pg.ClientBase;

/**
 * Runs work on the one connection that may build: at most one session does so at any time, so no tile is ever built twice at the same moment,
 * from two snapshots.
 * @param options.isWaiting for another session that is building, up to the statement timeout
 * @returns undefined where another session is building
 */
export async function asBuilder<T>(
  pool: pg.Pool,
  work: (client: Builder) => Promise<T>,
  { isWaiting = false }: { readonly isWaiting?: boolean } = {},
): Promise<T | undefined> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    const { rows } = await client.query<{ held: boolean }>(
      isWaiting ? 'select true as held from pg_advisory_lock($1)' : 'select pg_try_advisory_lock($1) as held',
      [builderLockId],
    );
    if (!rows[0]!.held) return undefined;
    const result = await work(client);
    await client.query('select pg_advisory_unlock($1)', [builderLockId]);
    return result;
  } catch (error) {
    // Closing the connection rolls back and gives up the lock, in this order.
    failure = error as Error;
    throw error;
  } finally {
    client.release(failure);
  }
}
