import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { freshDatabase } from '@fleetwire/platform/testing/fresh-database';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

// A transaction of another database on this server, older than the tables, stays open all the time.
const other = new pg.Client({ connectionString: await freshDatabase() });
await other.connect();
cleanUp(() => other.end());
await other.query('begin');
await other.query('select pg_current_xact_id()');

const { databaseUrl, database, write } = await freshStore();
const api = await startApi({ DATABASE_URL: databaseUrl });
const changes = (query: string) => api.get(`/api/v1/changes${query}`);

describe('GET /changes', () => {
  it('gives a cursor, then with it every reading that was stored since, each once', async () => {
    await write([reading({ seq: 0 })]);
    const start = await changes('');
    expect(start.body).toMatchObject({ data: [], covers: { count: 0, complete: true } });
    await write(
      [reading({ seq: 1, ts: 1_000, metrics: { temperature: 21.5, state: 'on' } }), reading({ seq: 2 })],
      [1],
    );
    const first = await changes(`?limit=1&cursor=${start.body.page.next}`);
    expect(first.body.data).toEqual([
      {
        deviceId: 'pump-1',
        ts: '1970-01-01T00:00:01.000Z',
        epoch: 'boot-1',
        seq: 1,
        receivedAt: '2026-01-02T00:00:00.000Z',
        metrics: { temperature: 21.5, state: 'on' },
      },
    ]);
    expect(first.body.covers).toMatchObject({ count: 1, complete: false });
    const second = await changes(`?limit=5000&cursor=${first.body.page.next}`);
    expect(second.body.data.map(({ seq }: { seq: number }) => seq)).toEqual([2]);
    const end = await changes(`?cursor=${second.body.page.next}`);
    expect(end.body).toMatchObject({ data: [], covers: { complete: true } });
    expect(await fetch(`${api.url}/metrics`).then((response) => response.text())).toContain(
      'fleetwire_changes_rows_total 2',
    );
  });

  it('is of the devices and metrics that the cursor was made for; another question is refused, and a forged cursor', async () => {
    const start = await changes('?pattern=valve-*&metrics=pressure');
    await write([
      reading({ deviceId: 'valve-1', seq: 1, metrics: { pressure: 1, speed: 2 } }),
      reading({ deviceId: 'valve-2', seq: 1, metrics: { speed: 2 } }),
      reading({ deviceId: 'pump-9', seq: 1, metrics: { pressure: 1 } }),
    ]);
    const { next } = start.body.page;
    const { body } = await changes(`?pattern=valve-*&metrics=pressure&cursor=${next}`);
    expect(
      body.data.map(({ deviceId, metrics }: { deviceId: string; metrics: object }) => [deviceId, metrics]),
    ).toEqual([['valve-1', { pressure: 1 }]]);
    for (const query of [
      `?cursor=${next}`,
      `?pattern=valve-*&metrics=pressure&cursor=${next}x`,
      '?since=soon',
      '?limit=5001',
    ])
      expect(await changes(query)).toMatchObject({
        status: 400,
        body: { errors: [{ field: expect.stringMatching(/^query\./) }] },
      });
    expect((await api.get('/api/v1/changes', { token: await tokenFor('device', 'pump-1') })).status).toBe(403);
  });

  it('begins with what was stored since a time', async () => {
    const since = new Date().toISOString();
    await write([reading({ deviceId: 'fan-1', seq: 1 })]);
    const { body } = await changes(`?devices=fan-1&since=${since}`);
    expect(body.data).toMatchObject([{ deviceId: 'fan-1' }]);
    expect((await changes(`?devices=fan-1&since=${since}&cursor=${body.page.next}`)).body.data).toEqual([]);
  });

  it('answers 410 and where to begin again after the database was put back, and after transactions were deleted', async () => {
    const { next } = (await changes('?tag=site:north')).body.page;
    await database.pool.query('delete from envelopes');
    const replaced = await changes(`?tag=site:north&cursor=${next}`);
    expect(replaced).toMatchObject({
      status: 410,
      body: { type: 'urn:fleetwire:problem:cursor-expired', reason: 'store-replaced' },
    });
    expect(replaced.body.restart).toMatch(/^\/api\/v1\/changes\?since=[^&]+&tag=site%3Anorth$/);
    await database.pool.query('update changes_kept set after_xid = pg_current_xact_id(), from_time = now()');
    expect(await changes(`?tag=site:north&cursor=${next}`)).toMatchObject({
      status: 410,
      body: { reason: 'too-old', restart: '/api/v1/changes?tag=site%3Anorth' },
    });
    expect(await changes('?since=now-1h')).toMatchObject({
      status: 410,
      body: { reason: 'too-old', restart: '/api/v1/changes' },
    });
  });
});
