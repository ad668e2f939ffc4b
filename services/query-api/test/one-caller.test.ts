import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const noon = Date.UTC(2026, 0, 1, 12);
const fatMetrics = Object.fromEntries(
  Array.from({ length: 63 }, (_, index) => [`m${index}`, { text: 'x'.repeat(3_900) }]),
);
const store = await freshStore();
for (let seq = 0; seq < 400; seq += 50) {
  await store.write(
    Array.from({ length: 50 }, (_, index) =>
      reading({ deviceId: 'fat', seq: seq + index, ts: noon + seq + index, metrics: fatMetrics }),
    ),
  );
}
// In another partition, so that a lock on that of the other device does not hold up questions about this one.
await store.write([reading({ deviceId: 'thin', ts: Date.UTC(2026, 6, 15) })]);

/** Holds every question about the readings of the device, until it is disposed of. */
async function lockReadingsOf(deviceId: string): Promise<AsyncDisposable> {
  const client = await store.database.pool.connect();
  const { rows } = await client.query<{ table: string }>(
    `select distinct r.tableoid::regclass::text as table from readings r join devices d using (device_key) where d.device_id = $1`,
    [deviceId],
  );
  await client.query('begin');
  for (const { table } of rows) await client.query(`lock table ${table} in access exclusive mode`);
  return {
    [Symbol.asyncDispose]: async () => {
      await client.query('rollback');
      client.release();
    },
  };
}

describe('a caller with 40 slow questions at the same time', () => {
  it.each([
    ['device', 'fat', 2],
    ['analyst', 'greedy', 6],
  ])('as %s gets 429 for those above its limit, and no other caller is refused', async (role, subject, callsMax) => {
    const api = await startApi({
      DATABASE_URL: store.databaseUrl,
      STATEMENT_TIMEOUT_MS: '100000',
      BREAKER_TIMEOUT_MS: '200000',
    });
    const token = await tokenFor(role, subject);
    const refused: Awaited<ReturnType<typeof api.get>>[] = [];
    let slow: Promise<Awaited<ReturnType<typeof api.get>>>[];
    {
      await using _lock = await lockReadingsOf('fat');
      slow = Array.from({ length: 40 }, async () => {
        const answer = await api.get('/api/v1/devices/fat/readings?metrics=nope', { token });
        if (answer.status === 429) refused.push(answer);
        return answer;
      });
      await eventually(() => expect(refused).toHaveLength(40 - callsMax));
      const paths = [
        '/api/v1/devices/thin/readings',
        '/api/v1/devices/thin/readings?metrics=temperature',
        '/api/v1/devices/thin/gaps',
      ];
      const others = await Promise.all(
        Array.from({ length: 42 }, async (_, index) => {
          const other = await tokenFor('analyst', `analyst-${index}`);
          return api.get(paths[index % paths.length] ?? '', { token: other });
        }),
      );
      expect(others.map(({ status }) => status)).toEqual(Array.from({ length: 42 }, () => 200));
    }
    const answers = await Promise.all(slow);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(callsMax);
    expect(refused).toHaveLength(40 - callsMax);
    for (const { body, headers } of refused) {
      expect(body.limit).toBe('calls-in-flight');
      expect(body.detail).toMatch(new RegExp(`at most ${callsMax} \\(CALLS_IN_FLIGHT_PER_(CALLER|DEVICE)_MAX\\)`));
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    }
    const { body } = await api.get('/api/v1/status');
    expect(body.circuits.map(({ state }: { state: string }) => state)).not.toContain('open');
    expect((await api.get('/metrics')).body).toContain(
      `fleetwire_query_refused_total{reason="calls-in-flight"} ${refused.length}`,
    );
  });
});
