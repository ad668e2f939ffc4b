import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, it } from 'vitest';
import { envelope, metric, readings, workerHarness } from './harness.ts';

it('a worker moves the horizon, builds the hours below it and the past, and shows how far it is', async () => {
  const harness = await workerHarness();
  const hour = Math.floor(Date.now() / 3_600_000);
  await harness.rows('update rollup_state set horizon = $1, built_from = $1, built_until = $1', [hour - 4]);
  const first = await harness.worker();
  const times = [hour - 2, hour - 3, hour - 20];
  for (const [index, at] of times.entries())
    await harness.publish(
      envelope(readings(`rolled-${index}`, 50, ({ seq }) => ({ ts: at * 3_600_000 + seq * 1_000 }))),
    );
  await eventually(async () => expect(await harness.stored('rolled-2')).toBe(50));
  await first.stop();
  // As if it had been down for some hours.
  await harness.rows('truncate tiles, rollup_1h, rollup_1m, rollup_marks');
  await harness.rows('update rollup_state set horizon = $1, built_from = $1, built_until = $1', [hour - 4]);

  const worker = await harness.worker();
  const built = 'select device_id, hour, kind, readings from tiles join devices using (device_key) order by device_id';
  await eventually(async () =>
    expect(await harness.rows(built)).toEqual(
      times.map((at, index) => ({ device_id: `rolled-${index}`, hour: at, kind: 1, readings: 50 })),
    ),
  );
  await eventually(async () => expect(await metric(worker, 'fleetwire_rollup_tiles_built_total{kind="hour"}')).toBe(3));
  await eventually(async () => {
    for (const age of ['horizon', 'built']) {
      const seconds = await metric(worker, `fleetwire_rollup_${age}_age_seconds`);
      expect(seconds).toBeGreaterThanOrEqual(300);
      expect(seconds).toBeLessThan(2 * 3_600);
    }
  });
  await eventually(async () => expect(await metric(worker, 'fleetwire_rollup_marks')).toBe(0));
});
