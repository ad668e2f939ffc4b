import { randomUUID } from 'node:crypto';
import type { CommandOutcome } from '@fleetwire/contracts/command';
import { describe, expect, it } from 'vitest';
import { cancelCommand } from '../src/commands/cancel.ts';
import { createCommand, type NewCommand } from '../src/commands/create.ts';
import { attemptsNotSent, attemptsReturned, devicesCameOnline, takeDueCommands } from '../src/commands/dispatch.ts';
import { applyOutcomes, type OutcomeResult } from '../src/commands/outcomes.ts';
import { commandsOfDevice, countPendingCommands, getCommand } from '../src/commands/read.ts';
import { deleteCommands } from '../src/commands/retention.ts';
import { freshStore } from './fixture.ts';

const { database } = await freshStore();
const { pool } = database;
const timeoutMs = 60_000;

/** A device of this name, with a session on an edge if one is given. */
async function device(edge?: string): Promise<string> {
  const deviceId = `d-${randomUUID()}`;
  await pool.query('insert into devices (device_id) values ($1)', [deviceId]);
  if (edge !== undefined) await connect(deviceId, edge);
  return deviceId;
}

async function connect(deviceId: string, edge: string): Promise<void> {
  await pool.query(
    `insert into connections (session_id, device_id, edge, generation, epoch, started_at) values ($1, $2, $3, 1, 'e', now())`,
    [randomUUID(), deviceId, edge],
  );
  await presence(deviceId, 'online');
}

async function disconnect(deviceId: string): Promise<void> {
  await pool.query(`update connections set ended_at = now(), reason = 'network' where device_id = $1`, [deviceId]);
  await presence(deviceId, 'offline');
}

async function presence(deviceId: string, status: 'online' | 'offline'): Promise<void> {
  await pool.query(
    `insert into presence (device_id, status, reason, since, sessions) values ($1, $2, 'connected', now(), 1)
     on conflict (device_id) do update set status = excluded.status`,
    [deviceId, status],
  );
}

function create(deviceId: string, more: Partial<NewCommand> = {}) {
  return createCommand(database, {
    id: randomUUID(),
    deviceId,
    command: 'set',
    args: { min: 22 },
    mode: 'now',
    timeoutMs,
    expiresAt: null,
    createdBy: 'ada',
    idempotencyKey: undefined,
    digest: 'digest',
    replyTo: null,
    pendingMax: 100,
    ...more,
  });
}

async function created(deviceId: string, more: Partial<NewCommand> = {}): Promise<string> {
  const made = await create(deviceId, more);
  if (!('command' in made)) throw new Error(made.kind);
  return made.command.id;
}

const whenOnline = { mode: 'when-online', expiresAt: Date.now() + 3_600_000 } as const;

function outcome(commandId: string, deviceId: string, of: Partial<CommandOutcome>): CommandOutcome {
  return {
    id: randomUUID(),
    type: 'command.outcome',
    schemaVersion: '1.0',
    occurredAt: Date.now(),
    commandId,
    deviceId,
    edge: 'e1',
    attempt: 1,
    outcome: 'sent',
    ...of,
  };
}

const apply = async (commandId: string, deviceId: string, of: Partial<CommandOutcome>): Promise<OutcomeResult> =>
  (await applyOutcomes(pool, [outcome(commandId, deviceId, of)]))[0] as OutcomeResult;

const get = async (id: string) => await getCommand(database, { id });
const stateOf = async (id: string) => (await get(id))?.state;

/** Takes what is due of one command. */
async function take(id: string) {
  const { attempts, changed } = await takeDueCommands(pool, { limit: 1_000 });
  return {
    attempt: attempts.find((attempt) => attempt.id === id),
    changed: changed.filter(({ commandId }) => commandId === id),
  };
}

/** As if this much time had passed. */
async function pass(id: string, interval: string): Promise<void> {
  await pool.query(
    `update commands set due_at = due_at - $2::interval, deadline_at = deadline_at - $2::interval, expires_at = expires_at - $2::interval
     where id = $1`,
    [id, interval],
  );
}

const sessionEnded = { outcome: 'not-here', error: { code: 'session-ended' } } as const;

describe('a new command', () => {
  it('is queued, and names what was asked for', async () => {
    const deviceId = await device('e1');
    const made = await create(deviceId);
    expect(made).toMatchObject({
      kind: 'created',
      command: { deviceId, state: 'queued', args: { min: 22 }, attempts: 0 },
    });
  });

  it('of an unknown device, or of one that is offline in the mode now, is recorded as failed', async () => {
    const offline = await device('e1');
    await disconnect(offline);
    expect(await create('never-heard-of')).toMatchObject({
      command: { state: 'failed', error: { code: 'device-unknown' } },
    });
    expect(await create(offline)).toMatchObject({ command: { state: 'failed', error: { code: 'device-offline' } } });
    expect(await create(offline, whenOnline)).toMatchObject({ command: { state: 'queued' } });
  });

  it('is refused where the device has too many that have not ended', async () => {
    const deviceId = await device();
    const first = await created(deviceId, { ...whenOnline, pendingMax: 2 });
    await created(deviceId, { ...whenOnline, pendingMax: 2 });
    expect(await create(deviceId, { pendingMax: 2 })).toEqual({ kind: 'too-many-pending' });
    await cancelCommand(database, { id: first, actor: 'ada' });
    expect((await create(deviceId, { pendingMax: 2 })).kind).toBe('created');
  });

  it('is made once by calls with the same key, and refused with the same key for another request', async () => {
    const deviceId = await device('e1');
    const call = () => create(deviceId, { idempotencyKey: 'k1', digest: 'a' });
    const made = await Promise.all([call(), call(), call(), call()]);
    expect(made.map(({ kind }) => kind).toSorted()).toEqual(['created', 'replayed', 'replayed', 'replayed']);
    expect(new Set(made.map((one) => ('command' in one ? one.command.id : one.kind))).size).toBe(1);
    expect(await create(deviceId, { idempotencyKey: 'k1', digest: 'b' })).toEqual({ kind: 'other-request' });
    expect((await create(deviceId, { idempotencyKey: 'k1', digest: 'b', createdBy: 'oscar' })).kind).toBe('created');
  });
});

describe('a command that is due', () => {
  it('is taken once by several workers, for the edge that has the newest session', async () => {
    const deviceId = await device('e1');
    await connect(deviceId, 'e2');
    const id = await created(deviceId);
    const taken = await Promise.all([take(id), take(id), take(id)]);
    expect(taken.flatMap(({ attempt }) => attempt ?? [])).toMatchObject([
      { id, deviceId, command: 'set', args: { min: 22 }, edge: 'e2', attempt: 1 },
    ]);
  });

  it('is sent to all edges where its edge is gone, and fails as offline where none has the device', async () => {
    const deviceId = await device('e1');
    const id = await created(deviceId);
    expect((await take(id)).attempt).toMatchObject({ edge: 'e1' });
    await attemptsReturned(pool, [{ id, attempt: 1 }]);
    expect((await take(id)).attempt).toMatchObject({ edge: null, attempt: 1 });
    await pass(id, '3 s');
    await take(id);
    expect(await get(id)).toMatchObject({ state: 'failed', error: { code: 'device-offline' }, attempts: 0 });
  });

  it('of a device without presence is sent to all edges: a gateway may have it', async () => {
    const id = await created(await device());
    expect((await take(id)).attempt).toMatchObject({ edge: null });
  });

  it('of the mode now is not sent again where the edge does not answer, and times out', async () => {
    const id = await created(await device('e1'));
    await take(id);
    await pass(id, '59 s');
    expect((await take(id)).attempt).toBeUndefined();
    await pass(id, '2 s');
    expect((await take(id)).changed).toMatchObject([{ commandId: id, state: 'timed-out', mode: 'now' }]);
    expect(await stateOf(id)).toBe('timed-out');
  });

  it('of the mode now is not sent again where the session ended before the device had it', async () => {
    const deviceId = await device('e1');
    const id = await created(deviceId);
    await take(id);
    await apply(id, deviceId, { outcome: 'sent' });
    expect(await apply(id, deviceId, sessionEnded)).toBe('ignored');
    await pass(id, '2 s');
    expect((await take(id)).attempt).toBeUndefined();
    expect(await stateOf(id)).toBe('sent');
  });

  it('is tried again a little later where it could not be published', async () => {
    const id = await created(await device('e1'));
    await take(id);
    await attemptsNotSent(pool, [{ id, attempt: 1 }], { retryMs: 0 });
    expect((await take(id)).attempt).toMatchObject({ edge: 'e1', attempt: 1 });
  });

  it('of the mode now that no worker took until its deadline is not sent any more', async () => {
    const id = await created(await device('e1'));
    await pass(id, '61 s');
    expect((await take(id)).attempt).toBeUndefined();
    expect(await stateOf(id)).toBe('timed-out');
  });
});

describe('a command of the mode when-online', () => {
  it('stays queued while its device is offline, and is due when the device begins a session', async () => {
    const deviceId = await device('e1');
    await disconnect(deviceId);
    const id = await created(deviceId, whenOnline);
    expect((await take(id)).attempt).toBeUndefined();
    expect((await take(id)).attempt).toBeUndefined();
    await connect(deviceId, 'e2');
    await devicesCameOnline(pool, [deviceId]);
    expect((await take(id)).attempt).toMatchObject({ edge: 'e2', attempt: 1 });
  });

  it('is sent to all edges ever less often while none has the device, and immediately once it is heard of', async () => {
    const deviceId = await device();
    const id = await created(deviceId, whenOnline);
    const secondsToNext = async () => {
      const { rows } = await pool.query<{ seconds: number }>(
        'select extract(epoch from due_at - now())::float8 as seconds from commands where id = $1',
        [id],
      );
      return rows[0]!.seconds;
    };
    /** One attempt that none answers, at this age of the command. */
    const unanswered = async (age: string) => {
      await pool.query('update commands set created_at = now() - $2::interval, due_at = now() where id = $1', [
        id,
        age,
      ]);
      expect((await take(id)).attempt).toMatchObject({ edge: null, attempt: 1 });
      await pass(id, '3 s');
      expect((await take(id)).attempt).toBeUndefined();
      return secondsToNext();
    };
    expect(await unanswered('0 s')).toBeGreaterThan(20);
    expect(await unanswered('300 s')).toBeGreaterThan(250);
    expect(await unanswered('10 days')).toBeLessThan(601);
    await devicesCameOnline(pool, [deviceId]);
    expect((await take(id)).attempt).toMatchObject({ edge: null, attempt: 1 });
    // Heard of again while no edge has answered yet.
    await connect(deviceId, 'e1');
    await devicesCameOnline(pool, [deviceId]);
    expect((await take(id)).attempt).toMatchObject({ edge: 'e1', attempt: 1 });
    // An attempt to its edge goes on.
    await devicesCameOnline(pool, [deviceId]);
    expect((await take(id)).attempt).toBeUndefined();
  });

  it('is sent again with the same id where the session ended before the device had it', async () => {
    const deviceId = await device('e1');
    const id = await created(deviceId, whenOnline);
    await take(id);
    await apply(id, deviceId, { outcome: 'sent' });
    await apply(id, deviceId, sessionEnded);
    expect(await stateOf(id)).toBe('queued');
    await pass(id, '2 s');
    expect((await take(id)).attempt).toMatchObject({ id, attempt: 2 });
  });

  it('is sent again after its deadline, unless its edge says that the session to which it wrote the command is open', async () => {
    const [gone, silent, open] = [await device('e1'), await device('e1'), await device('e1')];
    const ids = [await created(gone, whenOnline), await created(silent, whenOnline), await created(open, whenOnline)];
    await takeDueCommands(pool, { limit: 1_000 });
    for (const [index, deviceId] of [gone, silent, open].entries()) await apply(ids[index] as string, deviceId, {});
    for (const id of ids) await pass(id, '61 s');
    const { attempts } = await takeDueCommands(pool, { limit: 1_000 });
    expect(attempts.filter(({ id }) => ids.includes(id))).toMatchObject(ids.map(() => ({ edge: 'e1', attempt: 1 })));
    // Of one the edge is gone, of one it does not answer, and one it has.
    await attemptsReturned(pool, [{ id: ids[0] as string, attempt: 1 }]);
    await apply(ids[2] as string, open, {});
    for (const id of ids) await pass(id, '3 s');
    await takeDueCommands(pool, { limit: 1_000 });
    expect(await Promise.all(ids.map(stateOf))).toEqual(['queued', 'queued', 'timed-out']);
    const { attempts: next } = await takeDueCommands(pool, { limit: 1_000 });
    expect(next.filter(({ id }) => ids.includes(id)).map(({ attempt }) => attempt)).toEqual([2, 2]);
  });

  it('expires', async () => {
    const deviceId = await device();
    const id = await created(deviceId, { ...whenOnline, expiresAt: Date.now() + 1_000 });
    await pass(id, '2 s');
    await take(id);
    expect(await stateOf(id)).toBe('expired');
  });

  it('fails when the device has lost its session ten times with it', async () => {
    const deviceId = await device('e1');
    const id = await created(deviceId, whenOnline);
    for (let attempt = 1; attempt <= 10; attempt += 1) {
      await take(id);
      await apply(id, deviceId, { attempt });
      await apply(id, deviceId, { ...sessionEnded, attempt });
      await pass(id, '2 s');
    }
    await take(id);
    expect(await get(id)).toMatchObject({ state: 'failed', error: { code: 'too-many-attempts' }, attempts: 10 });
  });
});

it('tells each change of its state', async () => {
  const deviceId = await device('e1');
  const id = await created(deviceId, whenOnline);
  const told: object[] = [...(await take(id)).changed];
  const applied = async (of: Partial<CommandOutcome>) => {
    const result = await apply(id, deviceId, of);
    if (typeof result === 'object') told.push(result.change);
  };
  await applied({ outcome: 'sent' });
  await pass(id, '61 s');
  await take(id);
  await pass(id, '3 s');
  told.push(...(await take(id)).changed);
  await take(id);
  await applied({ outcome: 'delivered', attempt: 2 });
  await applied({ outcome: 'succeeded', attempt: 2 });
  await applied({ outcome: 'succeeded', attempt: 2 });
  const common = { commandId: id, deviceId, command: 'set', mode: 'when-online', jobId: null, at: expect.any(Number) };
  expect(told).toEqual([
    { ...common, state: 'sent', attempts: 1 },
    { ...common, state: 'queued', attempts: 1 },
    { ...common, state: 'delivered', attempts: 2 },
    { ...common, state: 'succeeded', attempts: 2 },
  ]);
});

describe('outcomes', () => {
  it('lead to the answer of the device, in any order and when they come twice', async () => {
    const deviceId = await device('e1');
    const sent = { outcome: 'sent' } as const;
    const delivered = { outcome: 'delivered' } as const;
    const succeeded = { outcome: 'succeeded', result: { min: 22 } } as const;
    const orders = [
      [sent, delivered, succeeded, sent, delivered, succeeded],
      [succeeded, delivered, sent],
      [delivered, sent, succeeded, { outcome: 'not-here' } as const, sessionEnded],
    ];
    for (const order of orders) {
      const id = await created(deviceId);
      await take(id);
      await applyOutcomes(
        pool,
        order.map((of) => outcome(id, deviceId, of)),
      );
      expect(await get(id)).toMatchObject({ state: 'succeeded', result: { min: 22 }, attempts: 1, lateResult: null });
    }
  });

  it('of another device, of an earlier attempt, and of an unknown command change nothing', async () => {
    const deviceId = await device('e1');
    const id = await created(deviceId, whenOnline);
    await take(id);
    await apply(id, deviceId, {});
    await apply(id, deviceId, sessionEnded);
    expect(await apply(id, 'other', { outcome: 'succeeded' })).toBe('ignored');
    expect(await apply(id, deviceId, { outcome: 'sent' })).toBe('ignored');
    expect(await apply(id, deviceId, sessionEnded)).toBe('ignored');
    expect(await apply(randomUUID(), deviceId, { outcome: 'succeeded' })).toBe('ignored');
    expect(await stateOf(id)).toBe('queued');
  });

  it('after the end are kept once, beside the state', async () => {
    const deviceId = await device('e1');
    const id = await created(deviceId);
    await take(id);
    await pass(id, '61 s');
    await take(id);
    expect(await apply(id, deviceId, { outcome: 'succeeded', result: 7 })).toBe('late');
    expect(await apply(id, deviceId, { outcome: 'failed', error: { code: 'busy' } })).toBe('ignored');
    expect(await get(id)).toMatchObject({ state: 'timed-out', result: null, lateResult: { ok: true, result: 7 } });
  });

  it('are kept also where no instance was heard in time, and the end says so', async () => {
    const deviceId = await device();
    const id = await created(deviceId);
    await take(id);
    await pass(id, '3 s');
    await take(id);
    const unheard = {
      state: 'failed',
      error: { code: 'device-offline', message: 'no instance has said in time that it has a socket of this device' },
    };
    expect(await get(id)).toMatchObject(unheard);
    expect(await apply(id, deviceId, { outcome: 'succeeded', result: 7 })).toBe('late');
    expect(await get(id)).toMatchObject({ ...unheard, result: null, lateResult: { ok: true, result: 7 } });
  });

  it('with text that jsonb cannot hold are stored', async () => {
    const deviceId = await device('e1');
    const id = await created(deviceId);
    await apply(id, deviceId, { outcome: 'failed', error: { code: 'odd', message: 'a\u0000b\ud800' } });
    expect(await get(id)).toMatchObject({ state: 'failed', error: { code: 'odd', message: 'a\u0000b\ud800' } });
  });
});

it('of an answer, a cancellation and a deadline at the same moment, one ends the command', async () => {
  const deviceId = await device('e1');
  for (let round = 0; round < 20; round += 1) {
    const id = await created(deviceId);
    await take(id);
    await apply(id, deviceId, {});
    await pass(id, '61 s');
    const [answer, cancelled, { changed }] = await Promise.all([
      apply(id, deviceId, { outcome: 'succeeded', result: round }),
      cancelCommand(database, { id, actor: 'ada' }),
      take(id),
    ]);
    const command = await get(id);
    const ends = [typeof answer === 'object' && 'succeeded', cancelled?.state, ...changed.map(({ state }) => state)];
    expect(ends.filter(Boolean)).toEqual([command?.state]);
    expect(command?.lateResult === null).toBe(command?.state === 'succeeded' || answer === 'ignored');
  }
});

it('cancels a command that is queued or sent, and none that the device has', async () => {
  const deviceId = await device('e1');
  const [queued, delivered] = [await created(deviceId), await created(deviceId)];
  await takeDueCommands(pool, { limit: 1_000 });
  await apply(delivered, deviceId, { outcome: 'delivered' });
  expect(await cancelCommand(database, { id: queued, actor: 'oscar' })).toMatchObject({
    commandId: queued,
    state: 'cancelled',
    jobId: null,
  });
  expect(await cancelCommand(database, { id: queued, actor: 'oscar' })).toBeUndefined();
  expect(await cancelCommand(database, { id: delivered, actor: 'oscar' })).toBeUndefined();
  expect(await get(queued)).toMatchObject({ state: 'cancelled', cancelledBy: 'oscar' });
  expect(await apply(queued, deviceId, { outcome: 'succeeded', result: 1 })).toBe('late');
});

it('lists the commands of a device, newest first', async () => {
  const deviceId = await device('e1');
  const ids = [await created(deviceId), await created(deviceId), await created(deviceId)];
  await cancelCommand(database, { id: ids[1] as string, actor: 'ada' });
  const list = async (more = {}) =>
    (await commandsOfDevice(database, { deviceId, limit: 10, ...more })).map(({ id }) => id);
  expect(await list()).toEqual(ids.toReversed());
  expect(await list({ states: ['cancelled'] })).toEqual([ids[1]]);
  expect(await list({ before: (await get(ids[1] as string))?.number })).toEqual([ids[0]]);
});

it('deletes commands that ended before the time for which they are kept', async () => {
  const deviceId = await device('e1');
  const [old, pending] = [await created(deviceId), await created(deviceId)];
  await cancelCommand(database, { id: old, actor: 'ada' });
  await pool.query(
    `update commands set finished_at = finished_at - interval '8 days', created_at = created_at - interval '8 days' where id = $1`,
    [old],
  );
  await deleteCommands(pool, 7);
  expect(await get(old)).toBeUndefined();
  expect(await stateOf(pending)).toBe('queued');
  expect((await countPendingCommands(database, {})).find(({ mode }) => mode === 'now')?.count).toBeGreaterThan(0);
});
