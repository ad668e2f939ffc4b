import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { parseDeviceFrame } from '@fleetwire/contracts/device-protocol';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { median, percentile } from '../src/median.ts';
import { cpuSecondsOf, peakResidentBytes, serverBehind, usageOf } from '../src/process-usage.ts';
import { textFrame } from '../src/raw-frame.ts';
import { deviceIdOf, fleetReadings, frameText, metricsPerReading, readingAt } from '../src/workload.ts';

describe('workload', () => {
  it.for([1, 20])(
    'makes frames of %i readings that the platform accepts and that say what the floors write',
    (count) => {
      const startTs = Date.now() - 3_600_000;
      const parsed = parseDeviceFrame(frameText(7, 41, count, startTs), Date.now());
      if (!parsed.ok || parsed.value.type !== 'telemetry') return expect.unreachable();
      const { seq, observations, problems } = parsed.value.telemetry;
      expect({ seq, problems, count: observations.length }).toEqual({ seq: 41, problems: [], count });
      for (const [index, observation] of observations.entries()) {
        const { ts, metrics } = readingAt(7, 41 + index, startTs);
        expect(observation).toEqual({ ts, metrics });
        expect(Object.keys(metrics)).toHaveLength(metricsPerReading);
      }
    },
  );

  it('hands out every identity once, frame by frame of each device', () => {
    const readings = fleetReadings(3, 2, 0);
    const identities = Array.from({ length: 12 }, () => readings.next().value).map(
      ({ deviceId, seq }) => `${deviceId}/${seq}`,
    );
    expect(identities.slice(0, 7)).toEqual(
      [0, 0, 1, 1, 2, 2, 0].map((device, index) => `${deviceIdOf(device)}/${index === 6 ? 3 : (index % 2) + 1}`),
    );
    expect(new Set(identities).size).toBe(12);
  });
});

describe('raw frames', () => {
  it.for([1, 125, 126, 65_535, 65_536, 100_000])(
    'of %i characters are read by a real WebSocket server',
    async (length) => {
      const server = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: 1_000_000 });
      await once(server, 'listening');
      const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
      onTestFinished(() => {
        client.terminate();
        server.close();
      });
      const upgraded = once(client, 'upgrade');
      const [socket] = (await once(server, 'connection')) as [WebSocket];
      const [{ socket: raw }] = (await upgraded) as [{ socket: Socket }];
      const text = 'x'.repeat(length);
      raw.write(textFrame(text));
      const [received] = await once(socket, 'message');
      expect(String(received)).toBe(text);
    },
  );
});

describe('figures', () => {
  it('are medians and percentiles by nearest rank', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(
      percentile(
        Array.from({ length: 100 }, (_, index) => index + 1),
        99,
      ),
    ).toBe(99);
    expect(percentile([], 99)).toBe(0);
  });
});

describe.runIf(process.platform === 'linux')('process usage', () => {
  it('counts the CPU time and memory of this process', async () => {
    const before = await usageOf(process.pid);
    const until = performance.now() + 100;
    while (performance.now() < until);
    expect((await usageOf(process.pid)).cpuSeconds - before.cpuSeconds).toBeGreaterThanOrEqual(0.05);
    expect(await cpuSecondsOf([process.pid, process.pid])).toBeLessThan(2 * (await cpuSecondsOf([process.pid])));
    expect(await peakResidentBytes(process.pid)).toBeGreaterThan(10_000_000);
  });

  it('finds the process behind a port', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    expect(await serverBehind(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)).toBe(process.pid);
  });
});
