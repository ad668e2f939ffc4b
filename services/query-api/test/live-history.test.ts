import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import type { LiveHistoryRequest, LivePosition } from '@fleetwire/contracts/live-history';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { openLiveHistory } from '@fleetwire/store/positions/live-history';
import { eventually } from '@fleetwire/platform/testing/eventually';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

type Line = LivePosition & IdentifiedReading & { end?: number; left?: Record<string, [number, number | null][]> };

const analyst = await tokenFor('analyst');

async function post(url: string, body: unknown, token = analyst): Promise<Response> {
  return fetch(`${url}/api/v1/live/history`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

async function history(url: string, body: LiveHistoryRequest, token = analyst) {
  const response = await post(url, body, token);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toMatch('application/x-ndjson');
  const lines = (await response.text())
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  const [positions, last] = [lines[0]!, lines.at(-1)!];
  expect(last.end).toBe(lines.length - 2);
  return { positions, readings: lines.slice(1, -1), left: last.left ?? {} };
}

const start = Date.UTC(2026, 10, 20);
const at = (seq: number, changes: Partial<IdentifiedReading> = {}) =>
  reading({
    seq,
    ts: start + seq * 1_000,
    receivedAt: start + seq * 1_000 + 40,
    metrics: { temperature: seq },
    ...changes,
  });

describe('live history', async () => {
  const store = await freshStore();
  const api = await startApi({ DATABASE_URL: store.databaseUrl });
  await store.write([at(1), at(2, { deviceId: 'pump-2' })], [1]);
  await store.write([at(3), at(4, { metrics: { state: 'on' } })], [2, 3]);
  await store.write([at(7, { deviceId: 'valve-1' }), at(6), at(9, { receivedAt: start + 1, deviceId: 'pump-2' })], [5]);
  const seqs = (readings: readonly Line[]) => readings.map(({ deviceId, seq }) => `${deviceId}/${seq}`);

  it('has the positions, then the readings of each device in the order of arrival, then their number', async () => {
    const { positions, readings } = await history(api.url, {
      filter: { patterns: ['pump-?', 'nothing*'] },
      since: new Date(start + 2_000).toISOString(),
    });
    expect(positions).toEqual({
      installation: expect.stringMatching(/^\d+:\d+$/),
      edgesKnown: 1,
      keys: { edge: 1 },
      settled: { edge: 3 },
      closed: {},
      completeUntil: null,
    });
    expect(seqs(readings)).toEqual(['pump-1/3', 'pump-1/4', 'pump-1/6', 'pump-2/9', 'pump-2/2']);
    expect(readings[0]).toEqual({
      deviceId: 'pump-1',
      epoch: 'boot-1',
      seq: 3,
      ts: '2026-11-20T00:00:03.000Z',
      receivedAt: '2026-11-20T00:00:03.040Z',
      metrics: { temperature: 3 },
    });
    const answered = await api.get('/api/v1/live/position');
    expect(answered.body).toEqual(positions);
  });

  it('has the readings of numbers that are settled, and the numbers that are left', async () => {
    const { readings, left } = await history(api.url, {
      filter: { devices: ['pump-1', 'valve-1'] },
      ranges: {
        edge: [
          [2, 6],
          [8, null],
        ],
        other: [[1, 4]],
        // Every object has a member of this name.
        constructor: [[1, 4] as [number, number]],
      },
    });
    expect(left).toEqual({
      edge: [
        [4, 4],
        [6, 6],
        [8, null],
      ],
      other: [[1, 4]],
      constructor: [[1, 4]],
    });
    expect(seqs(readings)).toEqual(expect.arrayContaining(['pump-1/3', 'pump-1/4', 'pump-1/6', 'valve-1/7']));
    expect((await history(api.url, { filter: { devices: ['pump-1'] }, ranges: { edge: [[1, 1]] } })).readings).toEqual([
      expect.objectContaining({ seq: 1 }),
    ]);
    expect(await history(api.url, { filter: { devices: ['pump-1'] }, ranges: {} })).toMatchObject({
      readings: [],
      left: {},
    });
  });

  it('has only the metrics that are asked for', async () => {
    const { readings } = await history(api.url, {
      filter: { devices: ['pump-1'], metrics: ['state'] },
      since: String(start),
    });
    expect(readings.map(({ seq, metrics }) => [seq, metrics])).toEqual([[4, { state: 'on' }]]);
  });

  it('gives a device its own readings only', async () => {
    const pump = await tokenFor('device', 'pump-2');
    for (const filter of [{ devices: ['pump-2'] }, { patterns: ['*'] }])
      expect(seqs((await history(api.url, { filter, since: String(start) }, pump)).readings)).toEqual([
        'pump-2/9',
        'pump-2/2',
      ]);
    for (const filter of [{ devices: ['pump-1'] }, { patterns: ['pump-*'] }, { devices: ['pump-2', 'pump-1'] }]) {
      const response = await post(api.url, { filter, since: '0' }, pump);
      expect(response.status).toBe(403);
      expect(((await response.json()) as { detail: string }).detail).toMatch('only its own data');
    }
  });

  it('unites ranges that overlap or touch: a thousand of them are answered as one', async () => {
    const open = Array.from({ length: 1_000 }, (): [number, null] => [1, null]);
    const { readings, left } = await history(api.url, { filter: { devices: ['pump-1'] }, ranges: { edge: open } });
    expect(left).toEqual({
      edge: [
        [4, 4],
        [6, null],
      ],
    });
    expect(seqs(readings)).toEqual(expect.arrayContaining(['pump-1/1', 'pump-1/3', 'pump-1/6']));
  });

  it('answers 504 when opening it takes too long, which does not open the circuit for other callers', async () => {
    const slow = await startApi({
      DATABASE_URL: store.databaseUrl,
      STATEMENT_TIMEOUT_MS: '300',
      BREAKER_TIMEOUT_MS: '1500',
      BREAKER_VOLUME_MIN: '2',
    });
    const body = { filter: { devices: ['pump-1'] }, ranges: { edge: separate(50) } };
    const client = await store.database.pool.connect();
    await client.query('begin; lock table envelopes in access exclusive mode');
    try {
      for (let call = 0; call < 4; call += 1) expect((await post(slow.url, body)).status).toBe(504);
    } finally {
      await client.query('rollback');
      client.release();
    }
    expect((await post(slow.url, body)).status).toBe(200);
  });

  const ranges = (count: number) => Array.from({ length: count }, (): [number, number] => [1, 1]);
  const separate = (count: number) => Array.from({ length: count }, (_, n): [number, number] => [2 * n + 1, 2 * n + 1]);
  it.each([
    [400, { filter: {}, since: 'now-1h' }, /filter.*lacks/],
    [400, { filter: { devices: ['a'] } }, /either \\"since\\", \\"receivedSince\\" or \\"ranges\\"/],
    [400, { filter: { devices: ['a'] }, since: 'now', ranges: {} }, /either/],
    [400, { filter: { devices: ['a'] }, since: 'yesterday' }, /body.since/],
    [400, { filter: { patterns: ['*a*b*c*d*e'] }, since: 'now' }, /patterns/],
    [400, { filter: { devices: ['a'] }, ranges: { edge: [[5, 4]] } }, /ends before it begins/],
    [422, { filter: { devices: ['a'] }, ranges: { edge: ranges(1_001) } }, /1000/],
    [422, { filter: { devices: ['a'] }, ranges: { edge: separate(101) } }, /at most 100:/],
    [422, { filter: { devices: ['a'] }, ranges: { edge: ranges(600), other: ranges(600) } }, /at most 1000/],
  ])('refuses with %i and the reason what no answer can be given to (%#)', async (status, body, reason) => {
    const response = await post(api.url, body);
    expect(response.status).toBe(status);
    expect(await response.text()).toMatch(reason);
  });

  it('refuses a filter that matches more devices than may be read from one time on', async () => {
    const many = await freshStore();
    await many.database.pool.query(
      `insert into devices (device_id) select 'd-' || n from generate_series(1, 1001) as n`,
    );
    const other = await startApi({ DATABASE_URL: many.databaseUrl });
    const filter = { patterns: ['d-*'] };
    const response = await post(other.url, { filter, since: 'now-1h' });
    expect([response.status, await response.text()]).toEqual([422, expect.stringContaining('1000 devices')]);
    expect((await history(other.url, { filter, ranges: {} })).readings).toEqual([]);
  });
});

describe('a watcher that reads since a time, and then what is left until nothing is', () => {
  it('has every reading of every envelope, whatever the order in which they are stored', async () => {
    const store = await freshStore();
    const api = await startApi({ DATABASE_URL: store.databaseUrl, RATE_LIMIT_PER_MINUTE: '1000000' });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ late: fc.boolean(), again: fc.boolean(), order: fc.nat() }), {
          minLength: 1,
          maxLength: 12,
        }),
        fc.nat(12),
        async (envelopes, joinAfter) => {
          run += 1;
          const deviceId = `device-${run}`;
          const stored = new Map<number, IdentifiedReading[]>();
          await store.database.pool.query(`delete from envelopes; update edges set settled = 0, accounted = 0`);
          for (const [index, { late, again }] of envelopes.entries()) {
            const seq = index * 2;
            const ts = start + (late ? -40 * 86_400_000 : 0) + seq * 1_000;
            const own = [at(seq, { deviceId, ts }), at(seq + 1, { deviceId, ts: ts + 500 })];
            // A resent reading has the arrival of its envelope.
            const resent = again && index > 0 ? [at(seq - 2, { deviceId, receivedAt: start + seq * 1_000 })] : [];
            stored.set(index + 1, [...own, ...resent]);
          }
          const order = [...stored.keys()].sort((a, b) => envelopes[a - 1]!.order - envelopes[b - 1]!.order);
          const filter = { devices: [deviceId] };
          const seen = new Set<number>();
          const add = (readings: readonly Line[]) => readings.forEach(({ seq }) => seen.add(seq));
          for (const number of order.slice(0, joinAfter)) await store.write(stored.get(number)!, [number]);
          const first = await history(api.url, { filter, since: String(start - 50 * 86_400_000) });
          add(first.readings);
          let left: LiveHistoryRequest['ranges'] = {
            edge: [[(first.positions.settled['edge'] ?? 0) + 1, envelopes.length]],
          };
          if (left['edge']![0]![0] > envelopes.length) left = {};
          for (const number of [...order.slice(joinAfter), 0]) {
            if (Object.keys(left).length === 0) break;
            const next = await history(api.url, { filter, ranges: left });
            add(next.readings);
            left = next.left;
            if (number > 0) await store.write(stored.get(number)!, [number]);
          }
          if (Object.keys(left).length > 0) add((await history(api.url, { filter, ranges: left })).readings);
          expect([...seen].sort((a, b) => a - b)).toEqual(
            Array.from({ length: envelopes.length * 2 }, (_, seq) => seq),
          );
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe('a stream of live history', async () => {
  const store = await freshStore();
  const api = await startApi({ DATABASE_URL: store.databaseUrl });
  const text = 'x'.repeat(1_000);
  for (let part = 0; part < 10; part += 1)
    await store.write(
      Array.from({ length: 2_000 }, (_, index) => at(part * 2_000 + index, { metrics: { text } })),
      [part + 1],
    );
  const backends = async () =>
    (
      await store.database.pool.query<{ pid: number }>(
        `select pid from pg_stat_activity where application_name = 'query-api live' and state <> 'idle'`,
      )
    ).rows;
  const body = JSON.stringify({ filter: { devices: ['pump-1'] }, since: '0' });

  async function open() {
    const sent = request(`${api.url}/api/v1/live/history`, {
      method: 'POST',
      headers: { authorization: `Bearer ${analyst}`, 'content-type': 'application/json' },
    });
    sent.end(body);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    return response;
  }

  const bytesInFlight = async () =>
    Number(/^fleetwire_query_answer_bytes_in_flight(?:\{.*\})? (\d+)$/m.exec((await api.get('/metrics')).body)?.[1]);

  it('reads few rows at a time where they are large, also after many small ones', async () => {
    const other = await freshStore();
    const large = 'y'.repeat(200_000);
    await other.write(
      Array.from({ length: 600 }, (_, seq) => at(seq, { metrics: seq >= 500 ? { text: large } : { temperature: 1 } })),
      [1],
    );
    const { batches } = await openLiveHistory(other.database, {
      filter: { devices: ['pump-1'] },
      of: { since: 0 },
      openingMsMax: 4_000,
    });
    const lengths: number[] = [];
    let count = 0;
    let bytesMax = 0;
    for await (const batch of batches) {
      lengths.push(batch.length);
      count += batch.length;
      bytesMax = Math.max(bytesMax, JSON.stringify(batch).length);
    }
    expect(count).toBe(600);
    expect(Math.max(...lengths)).toBe(256);
    expect(bytesMax).toBeLessThan(8 * 1024 * 1024);
  });

  it('never ends cleanly when the database fails', async () => {
    const response = await open();
    await eventually(async () => expect(await backends()).toHaveLength(1));
    await store.database.pool.query('select pg_terminate_backend($1)', [(await backends())[0]!.pid]);
    let received = '';
    const ended = (async () => {
      for await (const chunk of response) received += String(chunk);
    })();
    await expect(ended).rejects.toThrow('aborted');
    expect(received).not.toContain('"end"');
  });

  it('is written no faster than it is read, and ends in the database when its reader leaves', async () => {
    const before = process.memoryUsage().external;
    const responses = await Promise.all(Array.from({ length: 4 }, open));
    await eventually(async () => expect(await backends()).toHaveLength(4));
    expect(process.memoryUsage().external - before).toBeLessThan(40_000_000);
    await eventually(async () => expect(await bytesInFlight()).toBeGreaterThan(0));
    for (const response of responses) response.destroy();
    await eventually(async () => expect(await backends()).toEqual([]));
    expect((await history(api.url, { filter: { devices: ['pump-1'] }, since: '0' })).readings).toHaveLength(20_000);
    await eventually(async () => expect(await bytesInFlight()).toBe(0));
  });
});
