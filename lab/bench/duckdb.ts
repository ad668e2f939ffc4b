import { existsSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median } from './figure.ts';
import type { QueryClient } from './query-client.ts';
import type { Question } from './query-questions.ts';

const peers = new URL('peers/', import.meta.url);
const packageName = '@duckdb/node-api';

/** The parts of @duckdb/node-api that are used; it is 70 MB, so that only `npm run bench:peers` installs it. */
interface DuckDb {
  readonly DuckDBInstance: {
    create(): Promise<{ connect(): Promise<Connection> }>;
  };
}

interface Connection {
  run(sql: string): Promise<unknown>;
  runAndReadAll(sql: string): Promise<{ getRowObjectsJson(): readonly object[] }>;
  closeSync(): void;
}

/** What an analyst would do instead: take an export once, and ask DuckDB, which runs in the program and needs no server. */
export interface DuckDbTimes {
  readonly exportMs: number;
  readonly bytes: number;
  /** By the name of the question; those without a statement for DuckDB are left out. */
  readonly medianMs: Readonly<Record<string, number>>;
}

/** @returns undefined where the package is not installed */
export async function measureDuckDb(
  api: QueryClient,
  questions: readonly Question[],
  { from, to }: { readonly from: number; readonly to: number },
): Promise<DuckDbTimes | undefined> {
  if (!existsSync(new URL(`node_modules/${packageName}`, peers))) return undefined;
  const { DuckDBInstance } = createRequire(new URL('package.json', peers))(packageName) as DuckDb;
  const folder = await mkdtemp(join(tmpdir(), 'fleetwire-bench-'));
  try {
    const file = join(folder, 'readings.parquet');
    const range = { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
    const { elapsedMs } = await api.save(
      `/readings?${new URLSearchParams({ pattern: '*', format: 'parquet', ...range }).toString()}`,
      file,
    );
    const connection = await (await DuckDBInstance.create()).connect();
    try {
      await connection.run(`set TimeZone = 'UTC'; create view readings as select * from read_parquet('${file}')`);
      const times: Record<string, number> = {};
      for (const { name, duckDbSql, requests } of questions)
        if (duckDbSql !== undefined) times[name] = await medianOf(connection, duckDbSql, Math.ceil(requests / 3));
      return { exportMs: elapsedMs, bytes: (await stat(file)).size, medianMs: times };
    } finally {
      connection.closeSync();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** With its rows as JSON; the first tenth warms up. */
async function medianOf(connection: Connection, sql: string, requests: number): Promise<number> {
  const times: number[] = [];
  for (let n = -Math.ceil(requests / 10); n < requests; n += 1) {
    const startedAt = performance.now();
    JSON.stringify((await connection.runAndReadAll(sql)).getRowObjectsJson());
    if (n >= 0) times.push(performance.now() - startedAt);
  }
  return median(times);
}
