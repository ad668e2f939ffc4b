import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { needsOf } from '../capacity.ts';
import { defaults, forMillions } from '../assumptions.ts';
import { readCostTable } from '../cost-table.ts';
import { costsOf } from '../costs.ts';
import { databaseLoad, rowCosts } from '../database-load.ts';
import { envelopesOf } from '../envelopes.ts';
import { type Fleet, fleetOf, readingsPerSecond } from '../fleet.ts';
import { limitsOf } from '../limits.ts';

const costs = costsOf(await readCostTable());

const fleets: fc.Arbitrary<Fleet> = fc.record({
  devices: fc.integer({ min: 1, max: 20_000_000 }),
  secondsPerMessage: fc.integer({ min: 1, max: 3_600 }),
  readingsPerMessage: fc.constantFrom(1, 5, 20, 100),
  metricsPerReading: fc.integer({ min: 1, max: 50 }),
  retentionDays: fc.integer({ min: 1, max: 400 }),
  reconnectSeconds: fc.integer({ min: 5, max: 600 }),
  outageMinutes: fc.integer({ min: 1, max: 120 }),
  bootsPerDay: fc.integer({ min: 0, max: 24 }),
});

const counts = (fleet: Fleet) => {
  const { ingest, broker, workers, database } = needsOf(fleet, costs, defaults);
  return [ingest.instances, broker.queues, broker.nodes, workers.workers, database.nodes];
};

describe('the needs of a fleet', () => {
  it('never shrink with more devices', () => {
    fc.assert(
      fc.property(fleets, fc.integer({ min: 1, max: 10_000_000 }), (fleet, more) => {
        const few = counts(fleet);
        const many = counts({ ...fleet, devices: fleet.devices + more });
        for (const [index, count] of many.entries()) expect(count).toBeGreaterThanOrEqual(few[index]!);
      }),
      { numRuns: 200 },
    );
  });

  it('never shrink with a longer retention, a longer outage, or a quicker reconnection', () => {
    fc.assert(
      fc.property(fleets, (fleet) => {
        const harder = counts({
          ...fleet,
          retentionDays: fleet.retentionDays * 2,
          outageMinutes: fleet.outageMinutes * 2,
          reconnectSeconds: fleet.reconnectSeconds / 2,
        });
        for (const [index, count] of counts(fleet).entries()) expect(harder[index]).toBeGreaterThanOrEqual(count);
      }),
      { numRuns: 100 },
    );
  });

  it('include one spare ingest-ws and one spare worker', () => {
    const { ingest, workers } = needsOf(fleetOf(1), costs, defaults);
    expect(ingest.instances).toBe(2);
    expect(workers.workers).toBe(2);
  });

  it('keep the utilisation of every server within its bound', () => {
    fc.assert(
      fc.property(fleets, (fleet) => {
        const { ingest, broker, database } = needsOf(fleet, costs, forMillions);
        expect(ingest.cores / ingest.instances).toBeLessThanOrEqual(0.6 + 1e-6);
        expect(broker.leaderUtilisation).toBeLessThanOrEqual(0.6 + 1e-6);
        expect(database.cores / database.nodes).toBeLessThanOrEqual(16 * 0.6 + 1e-6);
      }),
      { numRuns: 100 },
    );
  });
});

describe('envelopes', () => {
  it('carry all readings, and become smaller with each additional batcher', () => {
    fc.assert(
      fc.property(fleets, fc.integer({ min: 1, max: 1_000 }), (fleet, batchers) => {
        const few = envelopesOf(fleet, batchers, defaults);
        const many = envelopesOf(fleet, batchers + 1, defaults);
        expect(few.perSecond * few.readingsEach).toBeCloseTo(readingsPerSecond(fleet), 4);
        expect(many.readingsEach).toBeLessThanOrEqual(few.readingsEach);
        expect(few.readingsEach).toBeGreaterThanOrEqual(fleet.readingsPerMessage);
      }),
    );
  });
});

describe('the load of Postgres', () => {
  it('costs at least as much per row in a larger table', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e8 }), fc.integer({ min: 0, max: 1e8 }), (devices, more) => {
        const [small, large] = [rowCosts(costs, devices), rowCosts(costs, devices + more)];
        expect(large.cpuMicros).toBeGreaterThanOrEqual(small.cpuMicros);
        expect(large.walBytes).toBeGreaterThanOrEqual(small.walBytes);
      }),
    );
  });

  it('grows with the readings, and is distributed over nodes', () => {
    const [once, twice] = [fleetOf(1_000_000), { ...fleetOf(1_000_000), secondsPerMessage: 5 }];
    expect(databaseLoad(twice, costs, 1).bytesPerDay).toBeCloseTo(2 * databaseLoad(once, costs, 1).bytesPerDay, 0);
    expect(databaseLoad(once, costs, 10).cores).toBeLessThanOrEqual(databaseLoad(once, costs, 1).cores);
  });
});

describe('limits', () => {
  it('come in ascending order of devices, and are higher for devices that send less often', () => {
    const often = limitsOf(fleetOf(1), costs);
    const seldom = new Map(
      limitsOf({ ...fleetOf(1), secondsPerMessage: 100 }, costs).map(({ what, devices }) => [what, devices]),
    );
    expect(often.map(({ devices }) => devices)).toEqual(often.map(({ devices }) => devices).sort((a, b) => a - b));
    for (const { what, devices } of often) expect(seldom.get(what)).toBeGreaterThanOrEqual(devices);
  });
});
