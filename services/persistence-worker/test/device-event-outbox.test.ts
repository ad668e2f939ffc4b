import { exchanges } from '@fleetwire/broker/topology';
import { type DeviceEventMessage, DeviceEventMessage as Schema } from '@fleetwire/contracts/device-event';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { openDatabase } from '@fleetwire/store/database';
import { insertDevice, updateDevice } from '@fleetwire/store/registry/changes';
import type { RegistryState } from '@fleetwire/store/registry/devices';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { Compile } from 'typebox/compile';
import { expect, it } from 'vitest';
import { type Harness, workerHarness } from './harness.ts';

const state: RegistryState = {
  name: null,
  type: null,
  status: 'active',
  tags: [],
  location: null,
  metadata: {},
  expectedIntervalMs: null,
  erasedBefore: null,
};
const schema = Compile(Schema);

async function eventsOf({ connection }: Harness): Promise<DeviceEventMessage[]> {
  const received: DeviceEventMessage[] = [];
  const channel = await connection.openChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, exchanges.events, 'device.#');
  await channel.consume(
    queue,
    (message) => {
      if (message !== null) received.push(JSON.parse(message.content.toString()) as DeviceEventMessage);
    },
    { noAck: true },
  );
  return received;
}

function databaseOf({ databaseUrl }: Harness) {
  const database = openDatabase({ databaseUrl, poolMax: 4, statementTimeoutMs: 10_000, applicationName: 'test' });
  cleanUp(() => database.close());
  const register = (deviceId: string) =>
    insertDevice(database, { deviceId, type: 'device.registered', actor: 'ada', state, patch: {} });
  const rename = (deviceId: string, name: string, expectedVersion: number) =>
    updateDevice(database, {
      deviceId,
      type: 'device.updated',
      actor: 'ada',
      state: { ...state, name },
      patch: { name },
      expectedVersion,
    });
  return { register, rename };
}

const versions = (received: readonly DeviceEventMessage[]) =>
  received.map(({ deviceId, version }) => `${deviceId} ${version}`);

it('publishes every change of the registry once and in order, with two workers', async () => {
  const harness = await workerHarness();
  const { register, rename } = databaseOf(harness);
  await register('early');
  const received = await eventsOf(harness);
  await Promise.all([harness.worker(), harness.worker()]);
  const expected = ['early 1'];
  for (let index = 0; index < 20; index += 1) {
    await register(`d${index}`);
    await rename(`d${index}`, 'n', 1);
    expected.push(`d${index} 1`, `d${index} 2`);
  }
  await eventually(() => expect(received).toHaveLength(expected.length));
  expect(versions(received)).toEqual(expected);
  for (const message of received) expect(schema.Errors(message)).toEqual([]);
  expect(received.at(-1)).toMatchObject({
    type: 'device.updated',
    actor: 'ada',
    state: { name: 'n', status: 'active' },
  });
});

it('publishes nothing twice after a restart, and drops what no queue is bound for', async () => {
  const harness = await workerHarness();
  const { register } = databaseOf(harness);
  const first = await harness.worker();
  await register('unheard');
  const done = async () =>
    (
      await harness.rows<{ is_read: boolean }>(`
      select not exists (select from device_events e, device_event_outbox o
        where e.xid >= pg_snapshot_xmax((o.position->>'done')::pg_snapshot)) as is_read`)
    )[0]?.is_read;
  await eventually(async () => expect(await done()).toBe(true));
  await first.stop();
  const received = await eventsOf(harness);
  await register('heard');
  await harness.worker();
  await eventually(() => expect(versions(received)).toEqual(['heard 1']));
});

it('publishes after an outage of the broker what was changed in it', async () => {
  const harness = await workerHarness();
  const { register } = databaseOf(harness);
  const received = await eventsOf(harness);
  await harness.worker();
  await register('before');
  await eventually(() => expect(versions(received)).toEqual(['before 1']));
  harness.brokerProxy.refuse();
  await register('during');
  harness.brokerProxy.resume();
  await eventually(() => expect(new Set(versions(received))).toEqual(new Set(['before 1', 'during 1'])));
});
