import { randomUUID } from 'node:crypto';
import { applyOutcomes } from '@fleetwire/store/commands/outcomes';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost, manageBroker } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import { vhostOf } from '../src/queues/management-source.ts';
import { type Reply, startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const store = await freshStore();
const { pool } = store.database;
const amqpUrl = await freshVhost();
const api = await startApi({
  DATABASE_URL: store.databaseUrl,
  AMQP_URL: amqpUrl,
  RATE_LIMIT_PER_MINUTE: '100000',
  COMMANDS_PENDING_PER_DEVICE_MAX: '3',
  COMMAND_TARGETS_MAX: '5',
});
const operator = await tokenFor('operator', 'oscar');

interface More {
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}
const post = (path: string, body?: unknown, { token = operator, headers = {} }: More = {}): Promise<Reply> =>
  api.get(`/api/v1${path}`, { method: 'POST', token, body, headers });
const get = (path: string, token?: string) => api.get(`/api/v1${path}`, { token });
const send = (device: string, body: object = {}, more?: More) =>
  post(`/devices/${device}/commands`, { command: 'set_threshold', ...body }, more);
const fieldOf = ({ body }: Reply): string => body.errors?.[0]?.field;

/** A device with a session, unless it is offline. */
async function device({ isOffline = false, tag = 'none' } = {}): Promise<string> {
  const deviceId = `d-${randomUUID()}`;
  await pool.query('insert into devices (device_id, tags) values ($1, $2)', [deviceId, [tag]]);
  await pool.query(
    `insert into presence (device_id, status, reason, since, sessions) values ($1, $2, 'connected', now(), 1)`,
    [deviceId, isOffline ? 'offline' : 'online'],
  );
  return deviceId;
}

/** The answer of a device, as its edge publishes it for the instance that waits. */
async function answer(deviceId: string, of: object, { isStored = false } = {}): Promise<void> {
  const { id, replyTo } = await eventually(async () => {
    const { rows } = await pool.query<{ id: string; replyTo: string }>(
      'select id, reply_to as "replyTo" from commands where device_id = $1',
      [deviceId],
    );
    expect(rows).toHaveLength(1);
    return rows[0]!;
  });
  const attributes = {
    id: randomUUID(),
    type: 'command.outcome',
    schemaVersion: '1.0',
    occurredAt: Date.now(),
  } as const;
  const outcome = {
    ...attributes,
    commandId: id,
    deviceId,
    edge: 'e1',
    attempt: 1,
    outcome: 'succeeded',
    ...of,
  } as const;
  if (isStored) await applyOutcomes(pool, [outcome]);
  else
    await manageBroker('POST', `/exchanges/${vhostOf(amqpUrl)}/commands/publish`, {
      routing_key: `result.${replyTo}`,
      payload: JSON.stringify(outcome),
      payload_encoding: 'string',
      properties: {},
    });
}

describe('sending a command', () => {
  it('answers 202 with the command and its place, where its state can be read', async () => {
    const deviceId = await device();
    const sent = await send(deviceId, { args: { min: 22, max: 28 }, timeoutMs: 5_000 });
    expect(sent.status).toBe(202);
    expect(sent.headers.get('location')).toBe(sent.body._links.self);
    expect(sent.body).toMatchObject({
      deviceId,
      command: 'set_threshold',
      args: { min: 22, max: 28 },
      state: 'queued',
      mode: 'now',
      createdBy: 'oscar',
      attempts: 0,
      timeoutMs: 5_000,
    });
    expect(Date.parse(sent.body.expiresAt) - Date.parse(sent.body.createdAt)).toBe(5_000);
    const read = await api.get(sent.body._links.self);
    expect([read.status, read.body]).toEqual([200, sent.body]);
  });

  it('to an unknown device is answered with 404, and to one that is offline with 409 and when it was last seen; both are recorded', async () => {
    const unknown = await send('never-heard-of');
    expect([unknown.status, unknown.body.code]).toEqual([404, 'device-unknown']);
    const deviceId = await device({ isOffline: true });
    await store.write([reading({ deviceId, receivedAt: Date.UTC(2026, 10, 20) })]);
    const offline = await send(deviceId);
    expect([offline.status, offline.body.code, offline.body.lastSeenAt]).toEqual([
      409,
      'device-offline',
      '2026-11-20T00:00:00.000Z',
    ]);
    expect(offline.body.detail).toContain('when-online');
    for (const { body } of [unknown, offline])
      expect((await api.get(body.command)).body).toMatchObject({ state: 'failed', error: { code: body.code } });
    expect((await send(deviceId, { mode: 'when-online' })).status).toBe(202);
  });

  it('with Prefer: wait is answered with the final state, from the report of the edge or from the database', async () => {
    for (const isStored of [false, true]) {
      const deviceId = await device();
      const [sent] = await Promise.all([
        send(deviceId, {}, { headers: { prefer: 'respond-async, wait=20' } }),
        answer(deviceId, { result: { min: 22 } }, { isStored }),
      ]);
      expect(sent.status).toBe(200);
      expect(sent.headers.get('preference-applied')).toBe('wait=20');
      expect(sent.body).toMatchObject({ state: 'succeeded', result: { min: 22 }, attempts: 1 });
    }
    const refused = await device();
    const [sent] = await Promise.all([
      send(refused, {}, { headers: { prefer: 'wait=20' } }),
      answer(refused, { outcome: 'failed', error: { code: 'busy', message: 'a job is running' } }),
    ]);
    expect([sent.status, sent.body.state, sent.body.error.code]).toEqual([200, 'failed', 'busy']);
  });

  it('with Prefer: wait is answered with 202 where it does not end in time', async () => {
    const sent = await send(await device(), {}, { headers: { prefer: 'wait=1' } });
    expect([sent.status, sent.body.state]).toEqual([202, 'queued']);
  });

  it('again with the same Idempotency-Key gives the first command; another command with it is refused', async () => {
    const deviceId = await device();
    const headers = { 'idempotency-key': 'k-1' };
    const first = await send(deviceId, { args: 1 }, { headers });
    const again = await send(deviceId, { args: 1 }, { headers });
    expect([again.status, again.body.id]).toEqual([202, first.body.id]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(first.headers.get('idempotency-replayed')).toBeNull();
    const other = await send(deviceId, { args: 2 }, { headers });
    expect([other.status, other.body.code]).toEqual([409, 'idempotency-conflict']);
    expect((await get(`/devices/${deviceId}/commands`)).body.data).toHaveLength(1);
    const offline = await device({ isOffline: true });
    const keyed = { headers: { 'idempotency-key': 'k-2' } };
    expect([(await send(offline, {}, keyed)).status, (await send(offline, {}, keyed)).status]).toEqual([409, 409]);
  });

  it('is refused beyond a limit, which the answer names', async () => {
    const deviceId = await device();
    const refused = async (body: object) => {
      const reply = await send(deviceId, body);
      return [reply.status, fieldOf(reply), reply.body.errors[0].detail];
    };
    expect(await refused({ args: 'x'.repeat(16_384) })).toEqual([422, 'body.args', expect.stringContaining('16384')]);
    expect(await refused({ timeoutMs: 300_001 })).toEqual([
      422,
      'body.timeoutMs',
      expect.stringContaining('300000 ms'),
    ]);
    expect(await refused({ expiresAt: 'now+1h' })).toEqual([
      422,
      'body.expiresAt',
      expect.stringContaining('when-online'),
    ]);
    expect(await refused({ mode: 'when-online', expiresAt: 'now+31d' })).toEqual([
      422,
      'body.expiresAt',
      expect.stringContaining('30 days'),
    ]);
    expect(await refused({ command: 'two words' })).toEqual([400, 'body.command', expect.any(String)]);
    expect((await refused({ priority: 1 }))[0]).toBe(400);
    for (const status of [202, 202, 202, 429]) {
      const reply = await send(deviceId);
      expect(reply.status).toBe(status);
      if (status === 429) expect(reply.body.detail).toContain('COMMANDS_PENDING_PER_DEVICE_MAX');
    }
  });

  it('is for operators; a device lists its own commands, and no others', async () => {
    const [deviceId, other] = [await device(), await device()];
    const ofDevice = await tokenFor('device', deviceId);
    for (const token of [ofDevice, await tokenFor('analyst')])
      expect((await send(deviceId, {}, { token })).status).toBe(403);
    const { body: mine } = await send(deviceId);
    const { body: others } = await send(other);
    expect((await get(`/devices/${deviceId}/commands`, ofDevice)).body.data).toMatchObject([{ id: mine.id }]);
    expect((await get(`/devices/${other}/commands`, ofDevice)).status).toBe(403);
    expect((await get(`/commands/${mine.id}`, ofDevice)).status).toBe(200);
    expect((await get(`/commands/${others.id}`, ofDevice)).status).toBe(404);
    expect((await post(`/commands/${mine.id}/cancel`, undefined, { token: ofDevice })).status).toBe(403);
  });
});

it('lists the commands of a device page by page, newest first, also by state', async () => {
  const deviceId = await device();
  const ids = [await send(deviceId), await send(deviceId), await send(deviceId)].map(({ body }) => body.id as string);
  await post(`/commands/${ids[0]}/cancel`);
  const first = await get(`/devices/${deviceId}/commands?limit=2`);
  expect(first.body.data.map(({ id }: { id: string }) => id)).toEqual([ids[2], ids[1]]);
  const second = await get(`/devices/${deviceId}/commands?limit=2&cursor=${first.body.page.next}`);
  expect(second.body.data.map(({ id }: { id: string }) => id)).toEqual([ids[0]]);
  expect(second.body.page.next).toBeNull();
  const cancelled = await get(`/devices/${deviceId}/commands?state=cancelled,failed`);
  expect(cancelled.body.data).toMatchObject([{ id: ids[0], state: 'cancelled', cancelledBy: 'oscar' }]);
  expect((await get('/devices/never-heard/commands')).status).toBe(404);
});

it('cancels a command that is pending, and says why it cannot cancel another', async () => {
  const { body } = await send(await device());
  const cancelled = await post(`/commands/${body.id}/cancel`);
  expect([cancelled.status, cancelled.body.state]).toEqual([200, 'cancelled']);
  const again = await post(`/commands/${body.id}/cancel`);
  expect([again.status, again.body.code, again.body.state]).toEqual([409, 'command-conflict', 'cancelled']);
  expect((await post('/commands/unknown/cancel')).status).toBe(404);
});

describe('sending a command to many devices', () => {
  const many = (target: unknown, body: object = {}, more?: More) =>
    post('/commands', { target, command: 'reboot', confirm: true, ...body }, more);

  it('answers 202 with a job that counts its commands by state', async () => {
    const devices = [await device({ tag: 'line:1' }), await device({ tag: 'line:1' })];
    const made = await many({ tag: 'line:1' }, { args: { soft: true }, ratePerSecond: 20 });
    expect(made.status).toBe(202);
    expect(made.body).toMatchObject({
      targets: 2,
      states: { queued: 2 },
      percent: 0,
      ratePerSecond: 20,
      createdBy: 'oscar',
    });
    const { body: list } = await get(`/devices/${devices[0]}/commands`);
    expect(list.data).toMatchObject([{ command: 'reboot', args: { soft: true }, job: made.body.id, state: 'queued' }]);
    await post(`/commands/${list.data[0].id}/cancel`);
    expect((await get(`/commands/${made.body.id}`)).body).toMatchObject({
      states: { queued: 1, cancelled: 1 },
      percent: 50,
    });
    const cancelled = await post(`/commands/${made.body.id}/cancel`);
    expect([cancelled.status, cancelled.body.states, cancelled.body.percent]).toEqual([200, { cancelled: 2 }, 100]);
  });

  it('needs a confirmation, and devices that match, of which there may not be too many', async () => {
    const unconfirmed = await many('*', { confirm: false });
    expect([unconfirmed.status, fieldOf(unconfirmed)]).toEqual([400, 'body.confirm']);
    const none = await many({ pattern: 'pump-?' });
    expect([none.status, none.body.errors[0].detail]).toEqual([422, 'matches no device']);
    for (let index = 0; index < 6; index += 1) await device();
    const all = await many('*');
    expect([all.status, all.body.errors[0].detail]).toEqual([422, expect.stringContaining('COMMAND_TARGETS_MAX')]);
    expect((await many('*', { ratePerSecond: 501 })).status).toBe(422);
    expect((await many('press-1')).status).toBe(400);
    expect((await many('*', {}, { token: await tokenFor('analyst') })).status).toBe(403);
  });

  it('again with the same Idempotency-Key gives the first job', async () => {
    await device({ tag: 'line:2' });
    const headers = { 'idempotency-key': 'k-many' };
    const first = await many({ tag: 'line:2' }, {}, { headers });
    const again = await many({ tag: 'line:2' }, {}, { headers });
    expect([again.body.id, again.headers.get('idempotency-replayed')]).toEqual([first.body.id, 'true']);
    expect((await many({ tag: 'line:1' }, {}, { headers })).body.code).toBe('idempotency-conflict');
  });
});

it('counts commands by state, and those that are pending', async () => {
  const { body } = await api.get('/metrics');
  expect(body).toMatch(/fleetwire_commands_total\{state="queued"\} \d\d/);
  expect(body).toMatch(/fleetwire_commands_pending\{mode="when-online"\} [1-9]/);
});
