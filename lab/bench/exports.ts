import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { watchMemory } from './memory-watch.ts';
import type { QueryClient } from './query-client.ts';
import { metricsPerReading } from './workload.ts';

const mebibyte = 1024 * 1024;

export interface Exports {
  readonly readings: number;
  readonly csv: { readonly bytes: number; readonly elapsedMs: number };
  readonly parquet: { readonly bytes: number; readonly elapsedMs: number };
  readonly copyMs: number;
  /** Of query-api during the CSV, above what it had at its start. */
  readonly growthMiB: number;
}

/** The whole fleet's readings of a range as CSV and Parquet, beside `\copy` of psql with the same columns. */
export async function measureExports(
  client: QueryClient,
  { databaseUrl, apiPid, from, to }: { databaseUrl: string; apiPid: number; from: number; to: number },
): Promise<Exports> {
  const range = { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
  const path = (format: string) => `/readings?${new URLSearchParams({ pattern: '*', format, ...range }).toString()}`;
  const where = `r.ts >= '${range.from}' and r.ts < '${range.to}'`;
  const values = Array.from({ length: metricsPerReading }, (_, index) => `r.numbers[${index + 1}]`).join(', ');
  const from3 = 'readings r join devices d using (device_key) join streams s using (stream_key)';
  const select = `select d.device_id, r.ts, s.epoch, r.seq, r.received_at, ${values} from ${from3} where ${where}`;

  const readings = Number(await psql(databaseUrl, `select count(*) from readings r where ${where}`));
  const startedAt = performance.now();
  await psql(databaseUrl, `\\copy (${select}) to '/dev/null' (format csv, header)`);
  const copyMs = performance.now() - startedAt;
  let csv = { bytes: 0, elapsedMs: 0 };
  const memory = await watchMemory([apiPid], async () => {
    csv = await client.get(path('csv'));
  });
  const parquet = await client.get(path('parquet'));
  return { readings, csv, parquet, copyMs, growthMiB: (Math.max(...memory) - memory[0]!) / mebibyte };
}

/** Of Debian's package postgresql-client. */
async function psql(databaseUrl: string, command: string): Promise<string> {
  const child = spawn('psql', ['--no-psqlrc', '--tuples-only', '--command', command, databaseUrl], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`psql exited with ${code}`);
  return output;
}
