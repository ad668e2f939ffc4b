import { createBatchWriter } from '@fleetwire/store/batch-writer';
import { openDatabase } from '@fleetwire/store/database';
import { migrate } from '@fleetwire/store/migrate';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import { beforeAll, describe, expect, it } from 'vitest';
import { dashboards, sqlQueries } from './dashboards.ts';

const databaseUrl = await freshDatabase();
await migrate(databaseUrl);
const options = { databaseUrl, poolMax: 1, statementTimeoutMs: 60_000, applicationName: 'grafana' };
const writing = openDatabase({ ...options, pipelined: true });
const { pool } = openDatabase(options);
cleanUp(() => Promise.all([writing.close(), pool.end()]));
const now = Date.now();
const hourMs = 3_600_000;
const weeks = 8;

beforeAll(async () => {
  const readings = Array.from({ length: weeks * 30 }, (_, seq) => ({
    deviceId: `press-${seq % 3}`,
    epoch: 'boot',
    seq,
    ts: now - Math.floor(seq / 30) * 7 * 24 * hourMs - (seq % 30) * 5_000,
    // Long ago, so that they are silent.
    receivedAt: now - hourMs,
    metrics: { temperature: seq, state: seq % 2 === 0 ? 'on' : 'off' },
  }));
  await createBatchWriter(writing.pool).write(readings);
  await pool.query(
    `insert into presence (device_id, status, reason, since, sessions) values ('press-1', 'online', 'hello', now(), 1)`,
  );
  await pool.query('analyze');
});

/** What Grafana makes of its macros and variables (PostgreSQL data source), for the last three hours in steps of a minute. */
function expanded(query: string): string {
  const at = (ms: number): string => `'${new Date(ms).toISOString()}'`;
  const text = query
    .replaceAll(/\$__timeFilter\((\w+)\)/g, `$1 BETWEEN ${at(now - 3 * hourMs)} AND ${at(now)}`)
    .replaceAll(/\$__timeGroupAlias\((\w+),\$__interval\)/g, 'floor(extract(epoch from $1)/60)*60 AS "time"')
    .replaceAll('${device:sqlstring}', `'press-1'`)
    .replaceAll('${metric:sqlstring}', `'temperature'`);
  expect(text).not.toContain('$');
  return text;
}

describe('the dashboards of Grafana', () => {
  it.each(sqlQueries)(
    '%s: the query runs as the role for SQL, has rows, and reads only partitions of the range',
    async (_where, query) => {
      const text = expanded(query);
      const client = await pool.connect();
      try {
        await client.query('set role fleetwire_sql');
        expect((await client.query(text)).rowCount).toBeGreaterThan(0);
        await client.query('reset role');
        const { rows } = await client.query<Record<'QUERY PLAN', string>>(`explain (analyze, timing off) ${text}`);
        const read = rows.flatMap((row) => row['QUERY PLAN'].match(/ on (readings_\d{4}\w\d\d?)/) ?? []);
        expect(new Set(read).size).toBeLessThanOrEqual(4);
      } finally {
        client.release();
      }
    },
  );

  it('have distinct ids, and name the data sources that are provisioned', () => {
    expect(new Set(dashboards.map(({ uid }) => uid)).size).toBe(3);
    const sources = dashboards.flatMap(({ panels }) =>
      panels.flatMap(({ targets }) => targets.map(({ datasource }) => datasource.uid)),
    );
    expect(new Set(sources)).toEqual(new Set(['fleetwire-sql', 'fleetwire-prometheus']));
    expect(sqlQueries.length).toBeGreaterThan(10);
  });
});
