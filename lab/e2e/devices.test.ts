import { once } from 'node:events';
import { startDeviceClient } from '../fleet/device-client.ts';
import { runFleet } from '../fleet/fleet.ts';
import { problemsOf, totalsOf } from '../fleet/report.ts';
import { newLinkStatistics } from '../fleet/uplink.ts';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { type ReadingsPage, startPlatform } from './platform.ts';

const platform = await startPlatform();
const now = Date.now();

/** A small device: connects, sends one frame after the hello, and disconnects after the answer. */
async function sendFrame(deviceId: string, frame: object): Promise<unknown> {
  const authorization = `Bearer ${await platform.token(deviceId, 'device')}`;
  const socket = new WebSocket(platform.webSocketUrl, 'fleetwire.v1.json', { headers: { authorization } });
  await once(socket, 'message');
  socket.send(JSON.stringify(frame));
  const [answer] = await once(socket, 'message');
  socket.close();
  return JSON.parse(String(answer));
}

async function metricsOf(deviceId: string): Promise<object[]> {
  const { data } = await platform.get<ReadingsPage>(`/devices/${deviceId}/readings?order=asc`);
  return data.map(({ metrics }) => metrics);
}

describe('small devices', () => {
  it.for([
    ['bare-value', { type: 'telemetry', value: 21.5 }, { value: 21.5 }],
    ['old-name', { type: 'telemetry', device_id: 'old-name', ts: now, value: 7 }, { value: 7 }],
    ['no-seq', { type: 'telemetry', ts: new Date(now).toISOString(), metrics: { temperature: 3 } }, { temperature: 3 }],
    [
      'all-kinds',
      { type: 'telemetry', metrics: { on: true, mode: 'eco', place: { lat: 1, lon: 2 }, load: 0.5 } },
      { on: true, mode: 'eco', place: { lat: 1, lon: 2 }, load: 0.5 },
    ],
  ] as const)('%s: the frame is acked and stored', async ([deviceId, frame, metrics]) => {
    expect(await sendFrame(deviceId, frame)).toMatchObject({ type: 'ack' });
    await eventually(async () => expect(await metricsOf(deviceId)).toEqual([metrics]));
  });

  it('post one reading or several over HTTP', async () => {
    const bearer = await platform.token('poster', 'device');
    expect((await platform.post({ value: 1 }, bearer)).status).toBe(202);
    expect(
      (
        await platform.post(
          [
            { ts: now, value: 2 },
            { ts: now + 1, metrics: { value: 3 } },
          ],
          bearer,
        )
      ).status,
    ).toBe(202);
    await eventually(async () => expect(await metricsOf('poster')).toHaveLength(3));
  });
});

describe('a fleet', () => {
  it.for([
    ['WebSocket', false],
    ['HTTP', true],
  ] as const)('that misbehaves over %s: every valid reading is stored exactly once', async ([name, isHttp]) => {
    const statistics = newLinkStatistics();
    const before = await platform.rows();
    const fleet = await runFleet({
      url: isHttp ? `${platform.ingest.url}/api/v1/telemetry` : platform.webSocketUrl,
      credentials: async (deviceId) => ({ token: await platform.token(deviceId, 'device'), isGateway: false }),
      statistics,
      devices: 20,
      idPrefix: `${name}-`,
      ratePerDevice: 100,
      readingsPerFrame: 5,
      countPerDevice: 100,
      misbehaviour: { duplicates: 0.2, outOfOrder: 0.2, malformed: 0.2 },
      seed: 4,
      rampUpMs: 200,
      bufferReadingsMax: 1_000,
      overflow: 'drop-oldest',
      settleTimeoutMs: 20_000,
      signal: AbortSignal.timeout(30_000),
    });
    const source = { journals: fleet.map(({ client }) => client.journal), fleet, statistics, startedAt: 0 };
    expect(problemsOf(source)).toEqual([]);
    const { acked, refused, duplicates, badFrames } = totalsOf(source, 1);
    expect(acked + refused).toBe(2_000);
    expect(Math.min(refused, duplicates, badFrames)).toBeGreaterThan(0);
    const expected = Object.fromEntries(fleet.map(({ client: { journal } }) => [journal.deviceId, journal.acked.size]));
    await eventually(async () => expect(await platform.rows()).toEqual({ ...before, ...expected }));
  });
});

describe('a device', () => {
  it('that reconnects in its epoch learns what was settled and resends only the rest', async () => {
    const token = await platform.token('returning', 'device');
    const options = { url: platform.webSocketUrl, deviceId: 'returning', epoch: 'boot-1', token };
    const first = startDeviceClient(options);
    first.send(...[1, 2, 3].map((n) => ({ ts: now + n, metrics: { n } })));
    await first.whenSettled();
    await first.stop();
    const second = startDeviceClient({ ...options, firstSeq: 3 });
    second.send(...[3, 4].map((n) => ({ ts: now + n, metrics: { n } })));
    await second.whenSettled();
    await second.stop();
    await eventually(async () => expect(await metricsOf('returning')).toEqual([1, 2, 3, 4].map((n) => ({ n }))));
  });

  it('that connects twice keeps the newer session; the older one does not reconnect', async () => {
    const options = {
      url: platform.webSocketUrl,
      deviceId: 'twin',
      token: await platform.token('twin', 'device'),
    };
    const older = startDeviceClient(options);
    older.send({ ts: now, metrics: { n: 1 } });
    await older.whenSettled();
    const newer = startDeviceClient(options);
    newer.send({ ts: now, metrics: { n: 2 } });
    await newer.whenSettled();
    await eventually(() => expect(older.failure).toMatchObject({ code: '4409' }));
    await Promise.all([older.stop(), newer.stop()]);
  });

  it('that publishes for another device gets a nack with the code forbidden', async () => {
    const client = startDeviceClient({
      url: platform.webSocketUrl,
      deviceId: 'victim',
      isGateway: true,
      token: await platform.token('thief', 'device'),
    });
    client.send({ ts: now, metrics: { n: 1 } });
    await client.whenSettled();
    expect(client.journal.nacksByCode).toEqual(new Map([['forbidden', 1]]));
    await client.stop();
    expect(await platform.rows()).not.toHaveProperty('victim');
  });
});
