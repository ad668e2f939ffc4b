import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { latestChanges } from '../src/latest.ts';
import { reading } from './reading.ts';

function changes(...readings: ReturnType<typeof reading>[]) {
  return latestChanges(
    readings,
    readings.map(({ deviceId }) => Number(deviceId)),
    [...readings.keys()],
  );
}

describe('latest changes', () => {
  it('keep the newest of each metric, each with its own time', () => {
    const [change] = changes(
      reading({ deviceId: '7', ts: 100, metrics: { a: 1, b: 1 } }),
      reading({ deviceId: '7', ts: 300, metrics: { a: 3 } }),
      reading({ deviceId: '7', ts: 200, metrics: { a: 2, c: 2 } }),
    );
    expect(change).toMatchObject({
      deviceKey: 7,
      newest: 300,
      oldest: 100,
      metrics: { a: [300, 3], b: [100, 1], c: [200, 2] },
    });
  });

  it('let the later arrival win where times are equal', () => {
    expect(
      changes(
        reading({ deviceId: '1', ts: 5, metrics: { a: 1 } }),
        reading({ deviceId: '1', ts: 5, metrics: { a: 2 } }),
      ),
    ).toMatchObject([{ metrics: { a: [5, 2] } }]);
  });

  it('take metrics named like what every object has', () => {
    const [change] = changes(reading({ deviceId: '1', ts: 5, metrics: { toString: 1, valueOf: 2 } }));
    expect(Object.entries(change?.metrics ?? {})).toEqual([
      ['toString', [5, 1]],
      ['valueOf', [5, 2]],
    ]);
  });

  it('are sorted by device and hold what a walk through the arrivals gives', () => {
    const arrivals = fc.array(
      fc.record({
        device: fc.integer({ min: 1, max: 4 }),
        ts: fc.integer({ min: 0, max: 9 }),
        name: fc.constantFrom('a', 'b'),
      }),
    );
    fc.assert(
      fc.property(arrivals, (list) => {
        const readings = list.map(({ device, ts, name }, value) =>
          reading({ deviceId: String(device), ts, metrics: { [name]: value } }),
        );
        const expected: Record<string, [number, unknown]> = {};
        for (const { deviceId, ts, metrics } of readings) {
          for (const [name, value] of Object.entries(metrics)) {
            const known = expected[`${deviceId} ${name}`];
            if (known === undefined || known[0] <= ts) expected[`${deviceId} ${name}`] = [ts, value];
          }
        }
        const result = changes(...readings);
        const flat = result.flatMap(({ deviceKey, metrics }) =>
          Object.entries(metrics).map(([name, entry]) => [`${deviceKey} ${name}`, entry]),
        );
        expect(Object.fromEntries(flat)).toEqual(expected);
        expect(result.map(({ deviceKey }) => deviceKey)).toEqual(
          [...new Set(list.map(({ device }) => device))].sort((a, b) => a - b),
        );
      }),
    );
  });
});
