import { eventually } from '@fleetwire/platform/testing/eventually';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { type Gap, gaps, sequencesOf } from '../src/gaps.ts';
import { freshStore } from './fixture.ts';
import { reading } from './reading.ts';

const { database } = await freshStore();
const writer = createBatchWriter(database.pool);

async function store(deviceId: string, epoch: string, seqs: readonly number[]): Promise<void> {
  await writer.write(seqs.map((seq) => reading({ deviceId, epoch, seq })));
}

async function allGaps(deviceId: string, limit: number, epoch?: string): Promise<Gap[]> {
  const streams = await sequencesOf(database, { deviceId, epoch });
  const found: Gap[] = [];
  for (let after: Gap | undefined; ; after = found.at(-1)) {
    const page = await gaps(database, { streams, deviceId, limit, after });
    found.push(...page);
    if (page.length < limit) return found;
  }
}

describe('gaps', () => {
  it('are exactly the numbers between first and last that are not stored, whatever the size of a page', async () => {
    let device = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 7 }),
        async (seqs, limit) => {
          const deviceId = `any-${(device += 1)}`;
          await store(deviceId, 'e', seqs);
          const missing = (await allGaps(deviceId, limit)).flatMap(({ from, to }) =>
            Array.from({ length: to - from + 1 }, (_, index) => from + index),
          );
          const [first, last] = [Math.min(...seqs), Math.max(...seqs)];
          const expected = Array.from({ length: last - first + 1 }, (_, index) => first + index).filter(
            (seq) => !seqs.includes(seq),
          );
          expect(missing).toEqual(expected);
          expect(await sequencesOf(database, { deviceId })).toMatchObject([{ first, last, stored: seqs.length }]);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('span blocks of the sequence ledger and stay within an epoch; epochs of the server are left out', async () => {
    await store('two-boots', 'a', [1, 5_000]);
    await store('two-boots', 'auto-x', [1, 9]);
    await store('two-boots', 'b', [3, 5]);
    const found = await allGaps('two-boots', 1);
    expect(found.map(({ epoch, from, to }) => ({ epoch, from, to }))).toEqual([
      { epoch: 'a', from: 2, to: 4_999 },
      { epoch: 'b', from: 4, to: 4 },
    ]);
    expect(await allGaps('two-boots', 10, 'auto-x')).toMatchObject([{ from: 2, to: 8 }]);
  });

  it('count their dead letters', async () => {
    await store('some-died', 'e', [1, 10]);
    await database.pool.query(
      `insert into dead_letters (id, reason, error_code, error_message, fingerprint, attempts, first_failed_at, last_failed_at, device_id, epoch, seq, payload, payload_encoding)
       select 'died-' || n, 'r', 'c', 'm', 'f', 1, now(), now(), 'some-died', 'e', n, '', 'json' from unnest('{2,3,11}'::int8[]) as n`,
    );
    expect(await allGaps('some-died', 10)).toMatchObject([{ from: 2, to: 9, deadLettered: 2 }]);
  });

  it('of five million readings are found quickly', async () => {
    await store('busy', 'e', [0]);
    await database.pool.query(
      `insert into sequence_blocks (stream_key, block, seen, newly_stored)
       select stream_key, n, int8multirange(int8range(n * 1024, n * 1024 + 500), int8range(n * 1024 + 501, (n + 1) * 1024)), '{}'
       from streams s join devices d using (device_key) cross join generate_series(1, 5000) as n where d.device_id = 'busy'`,
    );
    // On a machine whose cores are busy with something else one of several times is quick.
    await eventually(async () => {
      const startedAt = performance.now();
      const streams = await sequencesOf(database, { deviceId: 'busy' });
      const page = await gaps(database, { streams, deviceId: 'busy', limit: 100 });
      const last = page.at(-1) as Gap;
      await gaps(database, { streams, deviceId: 'busy', limit: 100, after: last });
      expect(page).toHaveLength(100);
      expect(performance.now() - startedAt).toBeLessThan(1_000);
    });
  });
});
