import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost, manageBroker } from '@fleetwire/platform/testing/fresh-vhost';
import { updateAlarms } from '@fleetwire/store/alarms';
import { expect, it } from 'vitest';
import { vhostOf } from '../src/queues/management-source.ts';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore } from './stored.ts';

const { databaseUrl, database } = await freshStore();
const amqpUrl = await freshVhost();
const queueUrl = `/queues/${vhostOf(amqpUrl)}/telemetry.persist`;
const token = await tokenFor('operator');
const { pool } = database;
const environment = { DATABASE_URL: databaseUrl, AMQP_URL: amqpUrl };

it('keeps the depth of the queues, and says which alarms there are, were, and since when', async () => {
  await manageBroker('PUT', queueUrl, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  const message = { routing_key: 'telemetry.persist', payload: 'one', payload_encoding: 'string', properties: {} };
  await manageBroker('POST', `/exchanges/${vhostOf(amqpUrl)}/amq.default/publish`, message);
  const api = await startApi(environment);
  const pointsOf = async () => {
    const { body } = await api.get('/api/v1/queues/history?from=now-10m&maxPoints=40', { token });
    expect(body.intervalSeconds).toBe(15);
    return (body.data as { name: string; points: { ready: number }[] }[]).find(
      ({ name }) => name === 'telemetry.persist',
    )?.points;
  };
  await eventually(async () => expect((await pointsOf())?.at(-1)).toMatchObject({ ready: 1, unacked: null, in: null }));

  const alarm = async () => {
    const { body } = await api.get('/api/v1/alarms', { token });
    expect(body.complete).toBe(true);
    return (body.data as { name: string; subject: string }[]).find(
      ({ name, subject }) => name === 'FleetwireNoConsumers' && subject === 'telemetry.persist',
    );
  };
  const since = expect.stringMatching(/Z$/) as string;
  await eventually(async () =>
    expect(await alarm()).toMatchObject({
      severity: 'critical',
      state: 'pending',
      since,
      until: null,
      summary: 'telemetry.persist has no consumer',
    }),
  );
  await pool.query(`update alarms set started_at = now() - interval '2 minutes' where subject = 'telemetry.persist'`);
  expect(await alarm()).toMatchObject({ state: 'firing', action: expect.stringContaining('persistence-worker') });

  await manageBroker('DELETE', queueUrl);
  // A further instance takes a sample at its start, if there is none of these 15 s.
  await pool.query('delete from queue_samples where at > now() - interval $$1 minute$$');
  await startApi(environment);
  await eventually(async () => expect(await alarm()).toMatchObject({ state: 'ended', since, until: since }));
});

it('writes one sample for all instances, and forgets what is older than 25 hours', async () => {
  await pool.query(`insert into queue_samples (at, queue, ready) values (now() - interval '26 hours', 'old', 1)`);
  await pool.query('delete from queue_samples where at > now() - interval $$1 minute$$');
  await manageBroker('PUT', queueUrl, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await Promise.all([startApi(environment), startApi(environment)]);
  await eventually(async () => {
    const { rows } = await pool.query<{ times: number; samples: number; old: number }>(
      `select count(distinct at)::int as times, count(*)::int as samples, (count(*) filter (where queue = 'old'))::int as old
       from queue_samples where queue in ('telemetry.persist', 'old') and (queue = 'old' or at > now() - interval '1 minute')`,
    );
    expect(rows[0]!.samples).toBeGreaterThan(0);
    expect(rows[0]).toMatchObject({ times: rows[0]!.samples, old: 0 });
  });
});

it('takes an alarm that one instance sees and others do not for one, and one that comes back later for another', async () => {
  const circuit = { name: 'FleetwireCircuitOpen', subject: 'in-turn', summary: 'The circuit in-turn is open' };
  const seen = { ...circuit, isOfOneInstance: true };
  const rows = async () => {
    const query = `select ended_at is null as "isOpen" from alarms where subject = 'in-turn' order by number`;
    return (await pool.query(query)).rows;
  };
  for (const alarms of [[seen], [], [seen], [], [seen]]) await updateAlarms(database, { alarms });
  expect(await rows()).toEqual([{ isOpen: true }]);
  await updateAlarms(database, { alarms: [] });
  await pool.query(`update alarms set ended_at = now() - interval '1 minute' where subject = 'in-turn'`);
  await updateAlarms(database, { alarms: [seen] });
  expect(await rows()).toEqual([{ isOpen: false }, { isOpen: true }]);
  // What all instances see has ended where it is not seen.
  const ofAll = { ...seen, isOfOneInstance: false };
  for (const alarms of [[], [ofAll]]) await updateAlarms(database, { alarms });
  expect(await rows()).toEqual([{ isOpen: false }, { isOpen: false }, { isOpen: true }]);
});

it('refuses a range without a bound, and callers who may not see queues', async () => {
  const api = await startApi({ DATABASE_URL: databaseUrl });
  expect((await api.get('/api/v1/queues/history?from=now-30d', { token })).status).toBe(400);
  for (const path of ['/queues/history', '/alarms']) expect((await api.get(`/api/v1${path}`)).status).toBe(403);
});

it('counts dead letters by group and time', async () => {
  const api = await startApi({ DATABASE_URL: databaseUrl });
  const insert = (id: string, fingerprint: string, minutesAgo: number) =>
    pool.query(
      `insert into dead_letters (id, reason, error_code, error_message, fingerprint, device_id, attempts, first_failed_at, last_failed_at, payload, payload_encoding)
       values ($1, 'rejected-by-database', 'x', 'x', $2, 'd', 1, now(), date_trunc('hour', now()) - $3 * interval '1 minute', 'x', 'json')`,
      [id, fingerprint, minutesAgo],
    );
  for (const [id, fingerprint, minutesAgo] of [
    ['1', 'a', 5],
    ['2', 'a', 6],
    ['3', 'a', 65],
    ['4', 'b', 65],
    ['5', 'a', 3_000],
  ] as const)
    await insert(id, fingerprint, minutesAgo);
  const { body } = await api.get('/api/v1/dead-letters/histogram?maxPoints=24', { token });
  expect(body.intervalSeconds).toBe(3_600);
  const counts = (body.data as { fingerprint: string; counts: { count: number }[] }[]).map(
    ({ fingerprint, counts: list }) => [fingerprint, list.map(({ count }) => count)] as const,
  );
  expect(counts).toEqual([
    ['a', [1, 2]],
    ['b', [1]],
  ]);
});

it('writes which instances it has heard, and says of one that ran before it started that nothing is heard of it', async () => {
  const insert = (id: string, name: string, minutesAgo: number, isFinished: boolean) =>
    pool.query(
      `insert into instances (instance_id, service, name, version, started_at, seen_at, is_finished)
       values ($1, 'ingest-ws', $2, '0.0.9', now() - interval '2 days', now() - $3 * interval '1 minute', $4)`,
      [id, name, minutesAgo, isFinished],
    );
  await insert('i1', 'ingest-1', 1, false);
  await insert('i2', 'ingest-2', 90, true);
  await insert('i3', 'ingest-3', 25 * 60, false);
  const api = await startApi({ ...environment, INSTANCE_NAME: 'the-api' });
  const { status, body } = await api.get('/api/v1/instances', { token });
  expect(status).toBe(200);
  const listed = body.data as { service: string; name: string; instanceId: string }[];
  expect(listed.filter(({ service }) => service === 'ingest-ws')).toMatchObject([
    { name: 'ingest-1', version: '0.0.9', state: 'unknown', acknowledged: false, perSecond: null },
    { name: 'ingest-2', state: 'finished' },
  ]);
  const own = listed.find(({ name }) => name === 'the-api')!;
  expect(own).toMatchObject({ service: 'query-api', state: 'running', sockets: null, transactions: null });
  await eventually(async () => {
    const { rows } = await pool.query(`select instance_id from instances where name = 'the-api' or instance_id = 'i3'`);
    expect(rows).toEqual([{ instance_id: own.instanceId }]);
  });
  await eventually(async () => expect((await api.get('/api/v1/instances', { token })).body.complete).toBe(true));
  expect((await api.get('/api/v1/instances')).status).toBe(403);
});
