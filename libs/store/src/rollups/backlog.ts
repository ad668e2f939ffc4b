import type pg from 'pg';

export interface RollupBacklog {
  readonly marks: number;
  /** Time since the end of the newest hour below the horizon, and of the newest that is built, on the clock of Postgres. */
  readonly horizonAgeSeconds: number;
  readonly builtAgeSeconds: number;
}

export async function rollupBacklog(pool: pg.Pool): Promise<RollupBacklog> {
  const { rows } = await pool.query<RollupBacklog & pg.QueryResultRow>(
    `select (select count(*) from rollup_marks where hour >= built_from and hour < built_until) as marks,
       extract(epoch from now())::float8 - horizon * 3600.0 as "horizonAgeSeconds",
       extract(epoch from now())::float8 - built_until * 3600.0 as "builtAgeSeconds"
     from rollup_state`,
  );
  return rows[0]!;
}
