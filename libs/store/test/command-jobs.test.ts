import { randomUUID } from 'node:crypto';
import type { CommandOutcome } from '@fleetwire/contracts/command';
import { beforeEach, describe, expect, it } from 'vitest';
import { takeDueCommands } from '../src/commands/dispatch.ts';
import {
  cancelCommandJob,
  createCommandJob,
  getCommandJob,
  type NewCommandJob,
  releaseCommands,
} from '../src/commands/jobs.ts';
import { applyOutcomes } from '../src/commands/outcomes.ts';
import { freshStore } from './fixture.ts';

const { database } = await freshStore();
const { pool } = database;

beforeEach(async () => {
  await pool.query('truncate commands, command_jobs, devices cascade');
  await pool.query(
    `insert into devices (device_id, tags, status) select 'press-' || n, array['line:' || n % 2], 'active' from generate_series(1, 12) n`,
  );
  await pool.query(`insert into devices (device_id, status) values ('press-old', 'retired'), ('100%', 'active')`);
});

function create(more: Partial<NewCommandJob> = {}) {
  return createCommandJob(database, {
    id: randomUUID(),
    target: '*',
    command: 'reboot',
    args: { soft: true },
    mode: 'now',
    timeoutMs: 5_000,
    expiresAt: null,
    ratePerSecond: 10,
    createdBy: 'ada',
    idempotencyKey: undefined,
    digest: 'digest',
    targetsMax: 100,
    ...more,
  });
}

async function createdJob(more: Partial<NewCommandJob> = {}): Promise<string> {
  const made = await create(more);
  if (!('id' in made)) throw new Error(made.kind);
  return made.id;
}

function answered(commandId: string, deviceId: string): CommandOutcome {
  return {
    id: randomUUID(),
    type: 'command.outcome',
    schemaVersion: '1.0',
    occurredAt: Date.now(),
    commandId,
    deviceId,
    edge: 'e1',
    attempt: 1,
    outcome: 'succeeded',
  };
}

/** As if the pause between two releases had passed. */
const pass = () => pool.query(`update command_jobs set next_release_at = next_release_at - interval '1 hour'`);

describe('a command to many devices', () => {
  it('is for the devices that the registry has when it is made: all, by pattern, or by tag', async () => {
    const targets = async (target: NewCommandJob['target']) => {
      const made = await create({ target });
      return 'targets' in made ? made.targets : made.kind;
    };
    expect(await targets('*')).toBe(13);
    expect(await targets({ pattern: 'press-?' })).toBe(9);
    expect(await targets({ pattern: '*%' })).toBe(1);
    expect(await targets({ tag: 'line:1' })).toBe(6);
    expect(await targets({ pattern: 'pump-*' })).toBe('no-device');
    expect(await create({ targetsMax: 12 })).toEqual({ kind: 'too-many-devices' });
    const id = await createdJob();
    await pool.query(`insert into devices (device_id) values ('press-new')`);
    expect((await getCommandJob(database, { id }))?.states).toEqual({ queued: 13 });
  });

  it('is made once by calls with the same key', async () => {
    const call = () => create({ idempotencyKey: 'k', digest: 'a' });
    const made = await Promise.all([call(), call(), call()]);
    expect(made.map(({ kind }) => kind).toSorted()).toEqual(['created', 'replayed', 'replayed']);
    expect(await create({ idempotencyKey: 'k', digest: 'b' })).toEqual({ kind: 'other-request' });
    const { rows } = await pool.query('select count(*) as n from commands');
    expect(rows).toEqual([{ n: 13 }]);
  });

  it('is dispatched at its rate, also by several workers, and a pause of all is not caught up', async () => {
    const startedAt = performance.now();
    await createdJob({ ratePerSecond: 10 });
    /** Two at a time, every 200 ms: on a busy machine some of them pass by themselves. */
    const passed = () => 2 * Math.floor((performance.now() - startedAt) / 200);
    const released = async () => {
      const { rows } = await pool.query<{ n: number }>('select count(*) as n from commands where due_at is not null');
      return rows[0]?.n;
    };
    await Promise.all([releaseCommands(pool), releaseCommands(pool), releaseCommands(pool)]);
    const first = await released();
    expect(first).toBeGreaterThanOrEqual(2);
    expect(first).toBeLessThanOrEqual(2 + passed());
    await pass();
    await Promise.all([releaseCommands(pool), releaseCommands(pool), releaseCommands(pool)]);
    expect(await released()).toBeLessThanOrEqual(6 + passed());
    for (let step = 0; step < 8; step += 1) {
      await pass();
      await releaseCommands(pool);
    }
    expect(await released()).toBe(13);
    await pass();
    expect(await releaseCommands(pool)).toBe(false);
    const { attempts } = await takeDueCommands(pool, { limit: 100 });
    expect(attempts).toHaveLength(13);
    expect(attempts[0]).toMatchObject({ command: 'reboot', args: { soft: true } });
  });

  it('is cancelled with what is queued of it', async () => {
    const id = await createdJob();
    await releaseCommands(pool);
    expect(await cancelCommandJob(database, { id, actor: 'oscar' })).toHaveLength(13);
    expect(await cancelCommandJob(database, { id, actor: 'oscar' })).toEqual([]);
    await pass();
    expect(await releaseCommands(pool)).toBe(false);
    expect(await getCommandJob(database, { id })).toMatchObject({ states: { cancelled: 13 }, cancelledBy: 'oscar' });
    expect(await cancelCommandJob(database, { id: randomUUID(), actor: 'oscar' })).toBeUndefined();
  });

  it('is cancelled while its devices answer, in any order, without a deadlock', async () => {
    await pool.query(`insert into devices (device_id) select 'pump-' || n from generate_series(1, 400) n`);
    for (let round = 0; round < 5; round += 1) {
      const id = await createdJob({ target: { pattern: 'pump-*' }, ratePerSecond: 500, targetsMax: 1_000 });
      await pool.query(`update commands set state = 'sent', attempts = 1 where state = 'queued'`);
      const { rows } = await pool.query<{ id: string; device: string }>(
        `select id, device_id as device from commands where state = 'sent' order by random()`,
      );
      const outcomes = rows.map(({ id: commandId, device }) => answered(commandId, device));
      const parts = [0, 1].map((half) => outcomes.slice(half * 200, half * 200 + 200));
      const results = await Promise.allSettled([
        ...parts.map((part) => applyOutcomes(pool, part)),
        applyOutcomes(pool, outcomes.toReversed()),
        cancelCommandJob(database, { id, actor: 'oscar' }),
      ]);
      expect(results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : []))).toEqual([]);
      const { states } = (await getCommandJob(database, { id }))!;
      expect((states.succeeded ?? 0) + (states.cancelled ?? 0)).toBe(400);
    }
  });
});
