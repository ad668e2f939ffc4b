import { randomUUID } from 'node:crypto';
import { createPublisher } from '@fleetwire/broker/publisher';
import { exchanges, queues } from '@fleetwire/broker/topology';
import {
  decodePresenceChanged,
  type PresenceChange,
  type PresenceChanged,
  presenceChangesPerMessageMax,
} from '@fleetwire/contracts/presence-event';
import { encodePresenceFact, type EndedSessionFact, type SessionFact } from '@fleetwire/contracts/presence-facts';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { createLogger } from '@fleetwire/runtime/logger';
import { createRegistry } from '@fleetwire/runtime/metrics';
import { expect, it } from 'vitest';
import { presenceEvents } from '../src/change-events.ts';
import { createWorkerMetrics } from '../src/metrics.ts';
import { envelope, type Harness, readings, workerHarness } from './harness.ts';

const silent = await createLogger({ name: 'test', level: 'silent' });

const session = (deviceId: string, sessionId = deviceId): SessionFact => ({
  sessionId,
  deviceId,
  epoch: 'b1',
  startedAt: 1_000,
});

async function eventsOf({ connection }: Harness): Promise<PresenceChanged[]> {
  const received: PresenceChanged[] = [];
  const channel = await connection.openChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, exchanges.events, 'presence.changed');
  await channel.consume(
    queue,
    (message) => {
      const decoded = decodePresenceChanged(message?.content ?? Buffer.from(''));
      if (!decoded.ok) throw new Error(decoded.issue.message);
      received.push(decoded.value);
    },
    { noAck: true },
  );
  return received;
}

function edgeOf(harness: Harness) {
  return async (started: SessionFact[], ended: EndedSessionFact[] = []): Promise<void> => {
    const content = encodePresenceFact({
      id: randomUUID(),
      type: 'sessions.changed',
      schemaVersion: '1.0',
      occurredAt: Date.now(),
      edge: 'in-1',
      generation: 1,
      leaseMs: 60_000,
      started,
      ended,
    });
    await harness.publish(content, { queue: queues.presence, type: 'sessions.changed' });
  };
}

const shown = (received: readonly PresenceChanged[]) =>
  received.flatMap(({ changes }) =>
    changes.map(({ deviceId, status, reason, since }) => `${deviceId} ${status} ${reason} ${since}`),
  );

it('publishes each change of presence after it is stored, and not what leaves it as it was', async () => {
  const harness = await workerHarness();
  const [received, report] = [await eventsOf(harness), edgeOf(harness)];
  await harness.worker();
  await report([session('press-7')]);
  await eventually(() => expect(shown(received)).toEqual(['press-7 online connected 1000']));
  expect(await harness.rows('select status from presence')).toEqual([{ status: 'online' }]);
  // A second connection of it, then the end of both.
  await report([session('press-7', 'second')]);
  await eventually(async () => expect(await harness.rows('select sessions from presence')).toEqual([{ sessions: 2 }]));
  await report(
    [],
    [
      { ...session('press-7'), reason: 'network', endedAt: 2_000 },
      { ...session('press-7', 'second'), reason: 'closed-by-device', endedAt: 3_000 },
    ],
  );
  await eventually(() => expect(received).toHaveLength(2));
  expect(shown(received)).toEqual(['press-7 online connected 1000', 'press-7 offline closed-by-device 3000']);
});

it('publishes many changes in messages of bounded size', async () => {
  const harness = await workerHarness();
  const [received, report] = [await eventsOf(harness), edgeOf(harness)];
  await harness.worker();
  const devices = Array.from({ length: 1_000 }, (_, index) => `device-${index}`);
  await report(devices.map((deviceId) => session(deviceId)));
  await eventually(() => expect(shown(received)).toHaveLength(devices.length));
  expect(received.map(({ changes }) => changes.length)).toEqual([
    presenceChangesPerMessageMax,
    presenceChangesPerMessageMax,
  ]);
});

it('tells which devices are silent, and which send without a connection', async () => {
  const harness = await workerHarness();
  const [received, report] = [await eventsOf(harness), edgeOf(harness)];
  await harness.worker();
  const hourAgo = Date.now() - 3_600_000;
  await harness.pool.query(
    `insert into devices (device_id, expected_interval_ms, version) values ('press-7', 60000, 1)`,
  );
  const told = (deviceId: string) =>
    shown(received)
      .filter((one) => one.startsWith(`${deviceId} `))
      .map((one) => one.split(' ').slice(1, 3).join(': '));
  await harness.publish(envelope(readings('press-7', 1, () => ({ receivedAt: hourAgo }))));
  await eventually(() => expect(told('press-7')).toEqual(['stale: silent']));
  await report([{ ...session('press-7'), startedAt: hourAgo }]);
  await harness.publish(envelope(readings('over-http', 1)));
  await eventually(() => expect(told('over-http')).toEqual(['online: http']));
  const expected = ['stale: silent', 'online: connected', 'stale: silent'];
  await eventually(() => expect(told('press-7')).toEqual(expected));
  await harness.publish(envelope(readings('press-7', 1, () => ({ seq: 2 }))));
  await eventually(() => expect(told('press-7')).toEqual([...expected, 'online: connected']));
});

const press = (deviceId: string, since = 1): PresenceChange => ({
  deviceId,
  status: 'online',
  reason: 'connected',
  since,
});

async function changeEvents({ connection }: Harness) {
  const publisher = createPublisher(connection, {
    logger: silent,
    messagesInFlightMax: 1,
    bytesInFlightMax: 1_000_000,
    confirmTimeoutMs: 10_000,
  });
  cleanUp(() => publisher.close());
  const [registry, stopping] = [createRegistry(), new AbortController()];
  const { signal } = stopping;
  return {
    publisher,
    registry,
    stopping,
    events: presenceEvents({ publisher, signal, metrics: createWorkerMetrics(registry) }),
  };
}

it('keeps changes until the broker takes them: one message, and of what changes meanwhile the newest', async () => {
  const harness = await workerHarness();
  const received = await eventsOf(harness);
  const { publisher, events, registry } = await changeEvents(harness);
  // Its channel is not open yet: that takes a round trip.
  expect(publisher.writable).toBe(false);
  events.publish([press('press-7'), press('press-8')]);
  events.publish([press('press-8', 2)]);
  events.publish([press('press-8', 3)]);
  const expected = ['press-7 online connected 1', 'press-8 online connected 1', 'press-8 online connected 3'];
  await eventually(() => expect(shown(received)).toEqual(expected));
  expect(await registry.metrics()).toContain('fleetwire_presence_changes_total{result="dropped"} 0');
});

it('is not held up by a queue of somebody that is full and refuses', async () => {
  const harness = await workerHarness();
  const received = await eventsOf(harness);
  const channel = await harness.connection.openChannel();
  const { queue } = await channel.assertQueue('', {
    exclusive: true,
    arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' },
  });
  await channel.bindQueue(queue, exchanges.events, 'presence.changed');
  const { events, registry } = await changeEvents(harness);
  for (let since = 1; since <= 3; since += 1) {
    events.publish([press('press-7', since)]);
    await eventually(() => expect(shown(received).at(-1)).toBe(`press-7 online connected ${since}`));
  }
  expect(received).toHaveLength(3);
  await eventually(async () =>
    expect(await registry.metrics()).toContain('fleetwire_presence_changes_total{result="dropped"} 2'),
  );
});

it('counts changes that the broker has not taken when the worker stops', async () => {
  const { stopping, events, registry, publisher } = await changeEvents(await workerHarness());
  await publisher.close();
  events.publish([press('press-7'), press('press-8')]);
  stopping.abort();
  await eventually(async () =>
    expect(await registry.metrics()).toContain('fleetwire_presence_changes_total{result="dropped"} 2'),
  );
});
