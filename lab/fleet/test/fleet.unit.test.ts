import { describe, expect, it, onTestFinished } from 'vitest';
import { credentialsFrom } from '../credentials.ts';
import { type FleetOptions, runFleet } from '../fleet.ts';
import { problemsOf, totalsOf } from '../report.ts';
import { newLinkStatistics } from '../uplink.ts';
import { startSinkServer } from './sink-server.ts';

async function fleetOf(options: Partial<FleetOptions>) {
  const server = await startSinkServer();
  onTestFinished(() => server[Symbol.asyncDispose]());
  const statistics = newLinkStatistics();
  const startedAt = performance.now();
  const fleet = await runFleet({
    url: server.url,
    credentials: await credentialsFrom({}),
    statistics,
    devices: 20,
    idPrefix: 'sim-',
    ratePerDevice: Number.POSITIVE_INFINITY,
    readingsPerFrame: 5,
    misbehaviour: { duplicates: 0, outOfOrder: 0, malformed: 0 },
    seed: 1,
    rampUpMs: 50,
    bufferReadingsMax: 1_000,
    overflow: 'drop-oldest',
    settleTimeoutMs: 5_000,
    signal: new AbortController().signal,
    ...options,
  });
  const source = { journals: fleet.map(({ client }) => client.journal), fleet, statistics, startedAt };
  return { server, fleet, totals: totalsOf(source, performance.now()), problems: problemsOf(source) };
}

describe('fleet', () => {
  it('sends exactly the count of each device, as fast as acks arrive', async () => {
    const { server, totals, problems } = await fleetOf({ countPerDevice: 101 });
    expect(problems).toEqual([]);
    expect(totals).toMatchObject({ devices: 20, sent: 2_020, acked: 2_020, refused: 0, connected: 0, reconnects: 0 });
    expect(server.stored.size).toBe(2_020);
    expect(server.received).toBe(2_020);
  });

  it('sends at the rate of each device, whatever else the machine does', async () => {
    const { fleet, problems } = await fleetOf({ ratePerDevice: 100, durationMs: 1_000, rampUpMs: 0 });
    expect(problems).toEqual([]);
    // A device that starts late has missed its first frames.
    for (const { readings } of fleet) {
      expect(readings).toBeGreaterThanOrEqual(50);
      expect(readings).toBeLessThanOrEqual(100);
    }
  });

  it('misbehaves at the requested shares, and loses no reading beside a bad one', async () => {
    const { server, fleet, totals, problems } = await fleetOf({
      countPerDevice: 1_000,
      misbehaviour: { duplicates: 0.2, outOfOrder: 0.1, malformed: 0.1 },
    });
    expect(problems).toEqual([]);
    expect(totals.acked + totals.refused).toBe(20_000);
    expect(totals.refused).toBe(totals.refusedAsPlanned);
    expect(totals.refused).toBeGreaterThan(40);
    expect(totals.badFrames).toBeGreaterThan(40);
    expect(Object.values(totals.errors).reduce((sum, count) => sum + count, 0)).toBe(totals.badFrames);
    expect(totals.duplicates).toBeGreaterThan(500);
    expect(server.stored.size).toBe(totals.acked);
    expect(fleet).toHaveLength(20);
  });

  it('stops sending on the signal, and still settles what it has sent', async () => {
    const { totals, problems } = await fleetOf({ signal: AbortSignal.timeout(300) });
    expect(problems).toEqual([]);
    expect(totals.sent).toBeGreaterThan(0);
    expect(totals.acked).toBe(totals.sent);
  });
});
