import { minuteOf, startOfMinute } from '@fleetwire/contracts/edge-report';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, inject, it } from 'vitest';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore } from './stored.ts';

const { databaseUrl, database } = await freshStore();
const api = await startApi({
  DATABASE_URL: databaseUrl,
  AMQP_URL: await freshVhost(),
  MANAGEMENT_URL: inject('managementUrl'),
});
const token = await tokenFor('operator', 'olga');
const ago = (minutes: number): number => minuteOf(Date.now()) - minutes;

const metric = async (name: string): Promise<number | undefined> => {
  const text = await (await fetch(`${api.url}/metrics`)).text();
  const [, value] = new RegExp(`^${name} (\\S+)$`, 'm').exec(text) ?? [];
  return value === undefined ? undefined : Number(value);
};
const enter = async (minute: number, { accepted, stored }: { accepted: number; stored: number }): Promise<void> => {
  await database.pool.query(
    `insert into books_accepted (minute, device_id, accepted, rejected, nacked, unconfirmed) values ($1, 'd', $2, 0, 0, 0)`,
    [minute, accepted],
  );
  // The rows are not counted, because there are more than a report counts.
  await database.pool.query('insert into books_stored (minute, writer, stored, replayed) values ($1, 1, $2, 0)', [
    minute,
    stored,
  ]);
};

describe('the reconciliation after an ingest-ws instance was killed under resends, when 66 readings were lost later', () => {
  const [killedAt, lostAt] = [ago(40), ago(20)];

  it('reports 66 readings as missing and the surplus apart, in the report and in the metrics', async () => {
    await database.pool.query(
      `insert into books_edges (instance_id, reports, first_reported_at, last_reported_at, is_finished)
       values ('killed', '{[1,9)}', $1, $2, false), ('running', '{[1,9)}', $1, now(), false)`,
      [new Date(startOfMinute(ago(50))), new Date(startOfMinute(killedAt))],
    );
    await enter(killedAt, { accepted: 2_000_000, stored: 2_059_262 });
    await enter(lostAt, { accepted: 1_000_000, stored: 999_934 });
    await eventually(async () => {
      const { body } = await api.get('/api/v1/ledger', { token });
      expect(body.total).toMatchObject({ state: 'unbalanced', missing: 66, surplus: 59_262 });
      expect(body.explanation).toContain('66 readings are missing');
      expect(body.explanation).toContain('59262 readings are stored that no ingest-ws has reported');
    });
    expect(await metric('fleetwire_reconciliation_missing_readings')).toBe(66);
    expect(await metric('fleetwire_reconciliation_surplus_readings')).toBe(0);
    expect(await metric('fleetwire_books_edges_unaccounted')).toBe(1);
  });

  it('no longer alarms after an operator has acknowledged it, and shows who acknowledged it and why', async () => {
    const at = (minute: number): string => new Date(startOfMinute(minute)).toISOString();
    const acknowledge = (body: object, role = 'operator') =>
      tokenFor(role, 'olga').then((asRole) =>
        api.get('/api/v1/ledger/acknowledgements', { token: asRole, method: 'POST', body }),
      );
    const reason = 'edge-2 was killed for the kernel update; 66 readings were purged by hand';
    expect(await acknowledge({ from: at(killedAt), to: at(lostAt + 1), reason })).toMatchObject({
      status: 201,
      body: { reason, acknowledgedBy: 'olga', missing: 66, surplus: 59_262 },
    });
    const { body } = await api.get('/api/v1/ledger', { token });
    expect(body.total).toMatchObject({
      state: 'unbalanced',
      missing: 66,
      surplus: 59_262,
      acknowledged: { missing: 66, surplus: 59_262 },
    });
    expect(body.acknowledgements).toMatchObject([{ reason, acknowledgedBy: 'olga' }]);
    expect(body.edges).toContainEqual(expect.objectContaining({ instanceId: 'killed', acknowledged: true }));
    expect(body.edges).toContainEqual(expect.objectContaining({ instanceId: 'running', acknowledged: false }));
    expect(body.explanation).toContain('66 readings are missing, 66 of them acknowledged');

    // Found after the acknowledgement, in a minute that it covers.
    await database.pool.query('update books_stored set stored = stored - 4 where minute = $1', [lostAt]);
    // Scrapes within 15 s share one report.
    await eventually(
      async () => {
        expect(await metric('fleetwire_reconciliation_missing_readings')).toBe(4);
        expect(await metric('fleetwire_books_edges_unaccounted')).toBe(0);
      },
      { intervalMs: 500 },
    );
    expect((await api.get('/api/v1/ledger', { token })).body.total).toMatchObject({
      missing: 70,
      acknowledged: { missing: 66 },
    });

    expect(await acknowledge({ from: 'now-1h', to: 'now+1m', reason })).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'body.to', detail: expect.stringContaining('in the future') }] },
    });
    expect(await acknowledge({ from: 'now', to: 'now-1h', reason })).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'body.from' }] },
    });
    expect(await acknowledge({ from: 'now-8d', to: 'now', reason })).toMatchObject({ status: 400 });
    expect(await acknowledge({ from: 'now-1h', to: 'now', reason: '' })).toMatchObject({ status: 400 });
    expect(await acknowledge({ from: 'now-1h', to: 'now', reason }, 'analyst')).toMatchObject({ status: 403 });
  });
});
