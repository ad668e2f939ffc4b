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
await store.write([reading({ deviceId: 'thin', ts: noon })]);

describe('a caller with 40 slow questions at the same time', () => {
  it.each([
    ['device', 'fat', 2],
    ['analyst', 'greedy', 6],
  ])('as %s gets 429 for those above its limit, and no other caller is refused', async (role, subject, callsMax) => {
    const api = await startApi({
      DATABASE_URL: store.databaseUrl,
      STATEMENT_TIMEOUT_MS: '2000',
      BREAKER_TIMEOUT_MS: '2500',
    });
    const token = await tokenFor(role, subject);
    const slow = Array.from({ length: 40 }, () => api.get('/api/v1/devices/fat/readings?metrics=nope', { token }));
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

    const answers = await Promise.all(slow);
    const refused = answers.filter(({ status }) => status === 429);
    // On a busy machine some questions are answered before the last ones arrive, which then find room.
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(callsMax);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.body.detail).toMatch(
      new RegExp(`at most ${callsMax} \\(CALLS_IN_FLIGHT_PER_(CALLER|DEVICE)_MAX\\)`),
    );
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0);
    const { body } = await api.get('/api/v1/status');
    expect(body.circuits.map(({ state }: { state: string }) => state)).not.toContain('open');
    expect((await api.get('/metrics')).body).toContain(
      `fleetwire_query_refused_calls_total{limit="calls_in_flight_per_caller"} ${refused.length}`,
    );
  });
});
