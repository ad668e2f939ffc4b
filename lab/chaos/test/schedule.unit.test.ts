import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalogue } from '../catalogue.ts';
import { schedule } from '../schedule.ts';

const settings = fc.record({ durationMs: fc.integer({ min: 1, max: 3_600_000 }), seed: fc.integer({ min: 1 }) });
const someFaults = fc.subarray([...catalogue], { minLength: 1 });

describe('the schedule', () => {
  it('is the same for the same faults, duration and seed, and differs for another seed', () => {
    const once = schedule(catalogue, { durationMs: 60_000, seed: 1 });
    expect(schedule(catalogue, { durationMs: 60_000, seed: 1 })).toEqual(once);
    expect(schedule(catalogue, { durationMs: 60_000, seed: 2 })).not.toEqual(once);
  });

  it('has every fault at least once, however short the time', () => {
    fc.assert(
      fc.property(someFaults, settings, (faults, options) => {
        const planned = [...schedule(faults, options).values()].flat().map(({ fault }) => fault);
        expect(new Set(planned)).toEqual(new Set(faults));
      }),
    );
  });

  it('never overlaps two faults of one component, and holds each for a time within its bounds', () => {
    fc.assert(
      fc.property(someFaults, settings, (faults, options) => {
        for (const [component, scheduled] of schedule(faults, options)) {
          let freeAtMs = 0;
          for (const { fault, atMs, holdMs } of scheduled) {
            expect(fault.component).toBe(component);
            expect(atMs).toBeGreaterThanOrEqual(freeAtMs);
            expect(holdMs).toBeGreaterThanOrEqual(fault.holdMinMs);
            expect(holdMs).toBeLessThanOrEqual(fault.holdMaxMs);
            freeAtMs = atMs + holdMs - 1;
          }
        }
      }),
    );
  });

  it.for(['persistence-worker-killed-before-commit', 'ingest-ws-killed-before-confirm'])(
    'has %s at least eight times a minute, beside the other faults of its component',
    (name) => {
      fc.assert(
        fc.property(fc.integer({ min: 1 }), (seed) => {
          const planned = [...schedule(catalogue, { durationMs: 120_000, seed }).values()].flat();
          expect(planned.filter(({ fault }) => fault.name === name).length).toBeGreaterThanOrEqual(16);
        }),
      );
    },
  );
});
