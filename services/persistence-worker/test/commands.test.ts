import { randomUUID } from 'node:crypto';
import { edgeRoutingKey, exchanges, queues, resultRoutingKey, routingKeys } from '@fleetwire/broker/topology';
import type { CommandDispatch, CommandOutcome } from '@fleetwire/contracts/command';
import { type CommandChange, decodeCommandChanged } from '@fleetwire/contracts/command-event';
import { encodePresenceFact } from '@fleetwire/contracts/presence-facts';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { createCommand, type NewCommand } from '@fleetwire/store/commands/create';
import { createCommandJob } from '@fleetwire/store/commands/jobs';
import { getCommand } from '@fleetwire/store/commands/read';
import { openDatabase } from '@fleetwire/store/database';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { expect, it } from 'vitest';
import { envelope, type Harness, metric, readings, workerHarness } from './harness.ts';

/** The part of an edge that commands see: a queue with its keys, and outcomes. */
async function openEdge({ connection }: Harness, edge: string) {
  const received: (CommandDispatch & { readonly key: string })[] = [];
  const channel = await connection.openConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const key of [edgeRoutingKey(edge), routingKeys.edges]) await channel.bindQueue(queue, exchanges.commands, key);
  const report = async (
    { id, deviceId, attempt }: Pick<CommandDispatch, 'id' | 'deviceId' | 'attempt'>,
    of: Pick<CommandOutcome, 'outcome'> & Partial<CommandOutcome>,
  ) => {
    const attributes = { id: randomUUID(), type: 'command.outcome', schemaVersion: '1.0', occurredAt: Date.now() };
    const outcome = { ...attributes, commandId: id, deviceId, edge, attempt, ...of };
    channel.publish(exchanges.commands, resultRoutingKey(null), Buffer.from(JSON.stringify(outcome)), {
      persistent: true,
    });
    await channel.waitForConfirms();
  };
  await channel.consume(
    queue,
    (message) => {
      if (message === null) return;
      const dispatch = JSON.parse(message.content.toString()) as CommandDispatch;
      received.push({ ...dispatch, key: message.fields.routingKey });
    },
    { noAck: true },
  );
  return { received, report };
}

/** Changes of commands, as they come on the exchange `events`. */
async function commandEventsOf({ connection }: Harness): Promise<CommandChange[]> {
  const told: CommandChange[] = [];
  const channel = await connection.openChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, exchanges.events, 'command.*');
  await channel.consume(
    queue,
    (message) => {
      const decoded = decodeCommandChanged(message?.content ?? Buffer.from(''));
      if (!decoded.ok) throw new Error(decoded.issue.message);
      told.push(...decoded.value.changes);
    },
    { noAck: true },
  );
  return told;
}

function databaseOf({ databaseUrl, rows }: Harness) {
  const database = openDatabase({ databaseUrl, poolMax: 4, statementTimeoutMs: 10_000, applicationName: 'test' });
  cleanUp(() => database.close());
  return {
    device: async (deviceId: string, edge?: string) => {
      await rows('insert into devices (device_id) values ($1)', [deviceId]);
      if (edge !== undefined)
        await rows(
          `insert into connections (session_id, device_id, edge, generation, epoch, started_at) values ($1, $2, $3, 1, 'e', now())`,
          [randomUUID(), deviceId, edge],
        );
    },
    send: async (deviceId: string, more: Partial<NewCommand> = {}) => {
      const made = await createCommand(database, {
        id: randomUUID(),
        deviceId,
        command: 'set',
        args: { min: 22 },
        mode: 'now',
        timeoutMs: 60_000,
        expiresAt: null,
        createdBy: 'ada',
        idempotencyKey: undefined,
        digest: '',
        replyTo: null,
        pendingMax: 100,
        ...more,
      });
      if (!('command' in made)) throw new Error(made.kind);
      return made.command.id;
    },
    sendToAll: (ratePerSecond: number) =>
      createCommandJob(database, {
        id: randomUUID(),
        target: '*',
        command: 'set',
        args: null,
        mode: 'now',
        timeoutMs: 60_000,
        expiresAt: null,
        ratePerSecond,
        createdBy: 'ada',
        idempotencyKey: undefined,
        digest: '',
        targetsMax: 1_000,
      }),
    get: (id: string) => getCommand(database, { id }),
  };
}

const whenOnline = { mode: 'when-online', expiresAt: Date.now() + 3_600_000 } as const;

/** What an edge says when a device has connected. */
function sessionStarted(deviceId: string, edge: string): Buffer {
  return encodePresenceFact({
    id: randomUUID(),
    schemaVersion: '1.0',
    occurredAt: Date.now(),
    edge,
    generation: 1,
    leaseMs: 12_000,
    type: 'sessions.changed',
    started: [{ sessionId: randomUUID(), deviceId, epoch: 'e', startedAt: Date.now() }],
    ended: [],
  });
}

it('sends a command to the edge that has the device, once with two workers, and stores the answer', async () => {
  const harness = await workerHarness();
  const { device, send, get } = databaseOf(harness);
  const [edge, other] = [await openEdge(harness, 'e1'), await openEdge(harness, 'e2')];
  const workers = [await harness.worker(), await harness.worker()];
  await device('press-7', 'e1');
  const id = await send('press-7', { replyTo: 'api-1' });
  await eventually(() => expect(edge.received).toHaveLength(1));
  expect(edge.received[0]).toMatchObject({
    id,
    deviceId: 'press-7',
    command: 'set',
    args: { min: 22 },
    attempt: 1,
    replyTo: 'api-1',
    key: 'edge.e1',
  });
  await edge.report(edge.received[0]!, { outcome: 'sent' });
  await eventually(async () => expect(await get(id)).toMatchObject({ state: 'sent', attempts: 1 }));
  await edge.report(edge.received[0]!, { outcome: 'succeeded', result: { min: 22 } });
  await eventually(async () => expect(await get(id)).toMatchObject({ state: 'succeeded', result: { min: 22 } }));
  expect([edge.received.length, other.received.length]).toEqual([1, 0]);
  // The row can be seen a moment before the worker has heard of its commit, and counts it.
  await eventually(async () => {
    const counted = await Promise.all(
      workers.map((worker) => metric(worker, 'fleetwire_commands_total{state="succeeded"}')),
    );
    expect(counted.reduce((sum, count) => sum + count, 0)).toBe(1);
  });
});

it('publishes each change of a command on the exchange events once it is stored', async () => {
  const harness = await workerHarness();
  const { device, send, get } = databaseOf(harness);
  const edge = await openEdge(harness, 'e1');
  const told = await commandEventsOf(harness);
  const worker = await harness.worker();
  await device('press-7', 'e1');
  const answered = await send('press-7');
  await eventually(() => expect(edge.received).toMatchObject([{ id: answered }]));
  const dispatch = edge.received[0]!;
  for (const of of ['sent', 'delivered', 'succeeded'] as const) {
    await edge.report(dispatch, { outcome: of });
    await eventually(async () => expect((await get(answered))?.state).toBe(of));
  }
  // The dispatch has shown that the worker is connected: what changes before is not published.
  const late = await send('press-7', { timeoutMs: 1 });
  const statesOf = (id: string) => told.filter(({ commandId }) => commandId === id).map(({ state }) => state);
  await eventually(() => {
    expect(statesOf(answered)).toEqual(['sent', 'delivered', 'succeeded']);
    expect(statesOf(late)).toEqual(['timed-out']);
  });
  expect(told[0]).toMatchObject({ deviceId: 'press-7', command: 'set', mode: 'now', jobId: null });
  await eventually(async () =>
    expect(await metric(worker, 'fleetwire_command_changes_total{result="published"}')).toBe(4),
  );
});

it('sends a command of the mode when-online through a gateway as soon as readings of its device come', async () => {
  const harness = await workerHarness();
  const { device, send } = databaseOf(harness);
  const edge = await openEdge(harness, 'e1');
  await harness.worker();
  await device('behind-a-gateway');
  const id = await send('behind-a-gateway', whenOnline);
  await eventually(() => expect(edge.received).toMatchObject([{ id, key: 'edges' }]));
  // No gateway has it yet.
  await eventually(async () => {
    const postponed = await harness.rows('select from commands where due_at > now() + interval $$20 s$$');
    expect(postponed).toHaveLength(1);
  });
  // Derives presence, which is what notices the readings.
  await harness.publish(sessionStarted('another', 'e1'), { queue: queues.presence });
  await harness.publish(envelope(readings('behind-a-gateway', 1)));
  await eventually(() => expect(edge.received[1]).toMatchObject({ id, key: 'edges', attempt: 1 }), {
    timeoutMs: 25_000,
  });
});

it('sends to all edges what one does not have, and fails a command that none has', async () => {
  const harness = await workerHarness();
  const { device, send, get } = databaseOf(harness);
  await harness.worker();
  await device('moved', 'e-stopped');
  await device('gone', 'e1');
  const edge = await openEdge(harness, 'e1');
  const [moved, gone] = [await send('moved'), await send('gone')];
  await eventually(() => expect(edge.received.map(({ key }) => key).toSorted()).toEqual(['edge.e1', 'edges']));
  for (const dispatch of edge.received.slice())
    await edge.report(dispatch, { outcome: dispatch.id === moved ? 'sent' : 'not-here' });
  await eventually(() => expect(edge.received.map(({ key }) => key)).toHaveLength(3));
  expect(edge.received[2]).toMatchObject({ id: gone, key: 'edges', attempt: 1 });
  await eventually(async () =>
    expect(await get(gone)).toMatchObject({ state: 'failed', error: { code: 'device-offline' } }),
  );
  expect(await get(moved)).toMatchObject({ state: 'sent' });
});

it('keeps a command of the mode when-online until the device connects, also over a restart of the worker', async () => {
  const harness = await workerHarness();
  const { device, send, get } = databaseOf(harness);
  const edge = await openEdge(harness, 'e1');
  await device('press-7');
  await harness.rows(
    `insert into presence (device_id, status, reason, since, sessions) values ('press-7', 'offline', 'network', now(), 0)`,
  );
  const first = await harness.worker();
  const id = await send('press-7', whenOnline);
  await eventually(async () => {
    const rows = await harness.rows('select from commands where due_at > now() + interval $$20 s$$');
    expect(rows).toHaveLength(1);
  });
  await first.stop();
  const second = await harness.worker();
  expect(edge.received).toEqual([]);
  await harness.publish(sessionStarted('press-7', 'e1'), { queue: queues.presence });
  await eventually(() => expect(edge.received).toMatchObject([{ id, key: 'edge.e1', attempt: 1 }]));
  await second.stop();
  // Reported while no worker runs: the outcomes stay in the queue.
  await edge.report(edge.received[0]!, { outcome: 'sent' });
  await edge.report(edge.received[0]!, { outcome: 'not-here', error: { code: 'session-ended' } });
  await harness.worker();
  await eventually(() => expect(edge.received[1]).toMatchObject({ id, key: 'edge.e1', attempt: 2 }));
  await edge.report(edge.received[1]!, { outcome: 'failed', error: { code: 'busy' } });
  await eventually(async () => expect(await get(id)).toMatchObject({ state: 'failed', error: { code: 'busy' } }));
});

it('ends commands whose time was over while no worker ran, and sends none of them', async () => {
  const harness = await workerHarness();
  const { device, send, get } = databaseOf(harness);
  const edge = await openEdge(harness, 'e1');
  await device('press-7', 'e1');
  const late = await send('press-7', { timeoutMs: 1 });
  const expired = await send('press-7', { ...whenOnline, expiresAt: Date.now() });
  await harness.worker();
  await eventually(async () => {
    expect(await get(late)).toMatchObject({ state: 'timed-out' });
    expect(await get(expired)).toMatchObject({ state: 'expired' });
  });
  expect(edge.received).toEqual([]);
});

it('sends a command that was made while the broker was away', async () => {
  const harness = await workerHarness();
  const { device, send } = databaseOf(harness);
  const edge = await openEdge(harness, 'e1');
  await harness.worker();
  await device('press-7', 'e1');
  harness.brokerProxy.refuse();
  const id = await send('press-7');
  await eventually(async () => {
    const tried = await harness.rows('select from commands where due_at > created_at + interval $$400 ms$$');
    expect(tried).toHaveLength(1);
  });
  harness.brokerProxy.resume();
  await eventually(() => expect(edge.received).toMatchObject([{ id }]));
});

it('sends a command to many devices at its rate', async () => {
  const harness = await workerHarness();
  const { device, sendToAll } = databaseOf(harness);
  const edge = await openEdge(harness, 'e1');
  for (let index = 0; index < 12; index += 1) await device(`d${index}`, 'e1');
  await Promise.all([harness.worker(), harness.worker()]);
  const startedAt = Date.now();
  await sendToAll(10);
  await eventually(() => expect(edge.received).toHaveLength(12));
  // Two at a time, every 200 ms: the last ones after a second.
  expect(Date.now() - startedAt).toBeGreaterThan(900);
  expect(new Set(edge.received.map(({ deviceId }) => deviceId)).size).toBe(12);
});

it('drops an outcome that it cannot read or store, and goes on', async () => {
  const harness = await workerHarness();
  const { device, send, get } = databaseOf(harness);
  const edge = await openEdge(harness, 'e1');
  const worker = await harness.worker();
  await device('press-7', 'e1');
  const id = await send('press-7');
  await eventually(() => expect(edge.received).toHaveLength(1));
  const [dispatch] = edge.received;
  await harness.publish(Buffer.from('{'), { queue: queues.commandResults });
  await edge.report(dispatch!, { outcome: 'delivered', occurredAt: Number.MAX_SAFE_INTEGER });
  await edge.report(dispatch!, { outcome: 'succeeded', result: '\ud800' });
  await edge.report(dispatch!, { outcome: 'succeeded', result: 'ok' });
  await eventually(async () => expect((await get(id))?.state).toBe('succeeded'));
  const counted = (result: string) => metric(worker, `fleetwire_command_outcomes_total{result="${result}"}`);
  await eventually(async () => {
    const handled = await Promise.all(['applied', 'ignored', 'refused'].map(counted));
    expect([await counted('unreadable'), handled.reduce((sum, count) => sum + count, 0)]).toEqual([1, 3]);
  });
  const channel = await harness.connection.openChannel();
  expect((await channel.checkQueue(queues.commandResults)).messageCount).toBe(0);
  await channel.close();
});

it('leaves an outcome that it could not write before it stopped to another worker', async () => {
  const harness = await workerHarness();
  const { device, send, get } = databaseOf(harness);
  const edge = await openEdge(harness, 'e1');
  const first = await harness.worker({ DRAIN_TIMEOUT_MS: '1000' });
  await device('press-7', 'e1');
  const id = await send('press-7');
  await eventually(() => expect(edge.received).toHaveLength(1));
  harness.postgresProxy.refuse();
  await edge.report(edge.received[0]!, { outcome: 'succeeded', result: 'ok' });
  await eventually(async () => {
    const channel = await harness.connection.openChannel();
    expect((await channel.checkQueue(queues.commandResults)).messageCount).toBe(0);
    await channel.close();
  });
  await first.stop();
  harness.postgresProxy.resume();
  await harness.worker();
  await eventually(async () => expect(await get(id)).toMatchObject({ state: 'succeeded', result: 'ok' }));
});
