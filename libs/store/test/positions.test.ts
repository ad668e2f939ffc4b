import type { EdgeReport } from '@fleetwire/contracts/edge-report';
import fc from 'fast-check';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { advancePositions, deletePositions, recordEdgePositions } from '../src/positions/edges.ts';
import { readPositions } from '../src/positions/read-positions.ts';
import { EnvelopeRecorder } from '../src/positions/record-envelopes.ts';
import { freshStore } from './fixture.ts';
import { run } from './reading.ts';

const { database } = await freshStore();
const { pool } = database;
const recorder = new EnvelopeRecorder(pool);
const minuteMs = 60_000;
let edges = 0;

function report(instanceId: string, positions: EdgeReport['positions'], isLast = false): EdgeReport {
  const common = { id: 'x', schemaVersion: '1.1', type: 'ingest.accounted', occurredAt: Date.now() } as const;
  return { ...common, instanceId, sequence: 1, isLast, entries: [], ...(positions && { positions }) };
}

const whole = (instanceId: string, number: number, part = '') => ({
  position: { instanceId, number, part },
  times: undefined,
});

async function settleTogether(instanceId: string, numbers: readonly number[]): Promise<void> {
  const statements = await recorder.statements(numbers.map((number) => whole(instanceId, number)));
  for (const statement of statements) await pool.query(statement);
}

describe('settled positions', () => {
  it('are advanced by one process at a time: another one does not wait for it, and cannot deadlock with it', async () => {
    const instanceId = `edge-${(edges += 1)}`;
    await recordEdgePositions(
      pool,
      report(instanceId, { last: 1, numberedBefore: Date.now(), intervalMs: 5_000, unsent: [], unconfirmed: [] }),
      0,
    );
    await settleTogether(instanceId, [1]);
    const holder = await pool.connect();
    try {
      await holder.query('begin');
      await holder.query('select from edges where instance_id = $1 for update', [instanceId]);
      const first = advancePositions(pool);
      await eventually(async () => {
        const { rows } = await pool.query(
          `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
        );
        expect(rows).toHaveLength(1);
      });
      expect(await advancePositions(pool)).toEqual([]);
      await holder.query('commit');
      await first;
    } finally {
      holder.release(true);
    }
    const { rows } = await pool.query('select settled from edges where instance_id = $1', [instanceId]);
    expect(Number(rows[0].settled)).toBe(1);
  });

  it('are the greatest number up to which every envelope is settled, whatever the order, repeats, splits and reports', async () => {
    type Step =
      | { kind: 'batch'; numbers: number[] }
      | { kind: 'parts'; number: number; parts: string[] }
      | { kind: 'unsent' | 'unconfirmed'; range: [number, number] }
      | { kind: 'advance' };
    const number = fc.integer({ min: 1, max: 30 });
    const step: fc.Arbitrary<Step> = fc.oneof(
      fc.record({ kind: fc.constant('batch' as const), numbers: fc.array(number, { maxLength: 12 }) }),
      fc.record({
        kind: fc.constant('parts' as const),
        number,
        parts: fc.shuffledSubarray(['0', '1', '00', '01', '10', '11']),
      }),
      fc.record({
        kind: fc.constantFrom('unsent' as const, 'unconfirmed' as const),
        range: fc.tuple(number, fc.nat(5)).map(([first, more]): [number, number] => [first, first + more]),
      }),
      fc.constant({ kind: 'advance' as const }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const instanceId = `edge-${(edges += 1)}`;
        await recordEdgePositions(pool, report(instanceId, undefined), 0);
        const settled = new Set<number>();
        const parts = new Map<number, Set<string>>();
        for (const one of steps) {
          if (one.kind === 'batch') {
            await settleTogether(instanceId, one.numbers);
            for (const each of one.numbers) settled.add(each);
          } else if (one.kind === 'parts') {
            const known = parts.get(one.number) ?? new Set<string>();
            parts.set(one.number, known);
            for (const part of one.parts) {
              await recorder.record(whole(instanceId, one.number, part));
              known.add(part);
            }
            const half = (name: string) => known.has(name) || (known.has(`${name}0`) && known.has(`${name}1`));
            if (half('0') && half('1')) settled.add(one.number);
          } else if (one.kind === 'advance') await advancePositions(pool);
          else {
            const positions = {
              last: 40,
              numberedBefore: 1,
              intervalMs: 5_000,
              unsent: [],
              unconfirmed: [],
              [one.kind]: [one.range],
            };
            await recordEdgePositions(pool, report(instanceId, positions), minuteMs);
            if (one.kind === 'unsent') for (let each = one.range[0]; each <= one.range[1]; each += 1) settled.add(each);
          }
          let expected = 0;
          while (settled.has(expected + 1)) expected += 1;
          expect((await readPositions(pool)).settled[instanceId]).toBe(expected);
        }
        await pool.query('update edges set closed_at = now() where instance_id = $1', [instanceId]);
      }),
      { numRuns: 60 },
    );
  });

  it('go through more rows than one look reads, and rows of many numbers', async () => {
    const instanceId = `edge-${(edges += 1)}`;
    await settleTogether(
      instanceId,
      Array.from({ length: 1_000 }, (_, index) => index + 1),
    );
    await pool.query(
      `insert into envelopes (edge_key, first, last)
       select edge_key, n, n from edges, generate_series(1001, 13000) as n where instance_id = $1`,
      [instanceId],
    );
    await settleTogether(instanceId, [13_002]);
    for (let looks = 0; looks < 3; looks += 1) await advancePositions(pool);
    expect((await readPositions(pool)).settled[instanceId]).toBe(13_000);
    await pool.query('update edges set closed_at = now() where instance_id = $1', [instanceId]);
  });

  it('come with the readings of one transaction, also when all readings were stored before', async () => {
    const instanceId = `edge-${(edges += 1)}`;
    const writer = createBatchWriter(pool);
    const readings = run(0, 2);
    await writer.write(readings, 'first', [whole(instanceId, 1), whole(instanceId, 3)]);
    expect((await readPositions(pool)).settled[instanceId]).toBe(1);
    await writer.write(readings, 'repeat', [whole(instanceId, 2)]);
    expect((await readPositions(pool)).settled[instanceId]).toBe(3);
    await pool.query('update edges set closed_at = now() where instance_id = $1', [instanceId]);
  });
});

describe('an edge', () => {
  it('is closed after its last report, when every number is settled; an envelope without an answer is waited for', async () => {
    const instanceId = `edge-${(edges += 1)}`;
    await settleTogether(instanceId, [1, 3]);
    const positions = {
      last: 4,
      numberedBefore: 5_000,
      intervalMs: 5_000,
      unsent: [],
      unconfirmed: [[2, 2]] as [number, number][],
    };
    await recordEdgePositions(pool, report(instanceId, positions, true), 300);
    await settleTogether(instanceId, [4]);
    await advancePositions(pool);
    expect(await readPositions(pool)).toMatchObject({ settled: { [instanceId]: 1 }, closed: {} });
    await pool.query('select pg_sleep(0.4)');
    await advancePositions(pool);
    const { settled, closed } = await readPositions(pool);
    expect(settled[instanceId]).toBeUndefined();
    expect(closed[instanceId]).toBe(4);
  });

  it('is complete until the newest report whose numbers all have a row; readings without an ack are not waited for', async () => {
    const instanceId = `edge-${(edges += 1)}`;
    const until = async () => (await readPositions(pool)).completeUntil;
    const tell = (last: number, numberedBefore: number, unconfirmed: [number, number][] = []) =>
      recordEdgePositions(
        pool,
        report(instanceId, { last, numberedBefore, intervalMs: 5_000, unsent: [], unconfirmed }),
        minuteMs,
      );
    await recordEdgePositions(pool, report(instanceId, undefined), minuteMs);
    expect(await until()).toBeNull();
    await settleTogether(instanceId, [1, 2]);
    await tell(2, 1_000);
    expect(await until()).toBe(1_000);
    await advancePositions(pool);
    await tell(4, 2_000);
    await advancePositions(pool);
    expect(await until()).toBe(1_000);
    await settleTogether(instanceId, [4]);
    await tell(4, 3_000, [[3, 3]]);
    expect(await until()).toBe(3_000);
    expect((await readPositions(pool)).settled[instanceId]).toBe(2);
    await pool.query('update edges set closed_at = now() where instance_id = $1', [instanceId]);
  });

  it('keeps its settled position when old rows are deleted', async () => {
    const instanceId = `edge-${(edges += 1)}`;
    await settleTogether(instanceId, [1, 2]);
    await advancePositions(pool);
    await pool.query(`update envelopes set settled_at = now() - interval '31 days'`);
    await settleTogether(instanceId, [3]);
    await deletePositions(pool, 30);
    expect((await readPositions(pool)).settled[instanceId]).toBe(3);
    const { rows } = await pool.query<{ count: number }>('select count(*) from envelopes');
    expect(rows[0]?.count).toBe(1);
  });

  describe('that has ended without a last report', () => {
    const pass = (instanceId: string, silentMs: number) =>
      pool.query('update edges set silent_ms = $2 where instance_id = $1', [instanceId, silentMs]);
    const closedAt = async (instanceId: string) => (await readPositions(pool)).closed[instanceId];
    const heard = async (last: number): Promise<string> => {
      const instanceId = `edge-${(edges += 1)}`;
      const positions = { last, numberedBefore: 5_000, intervalMs: 20_000, unsent: [], unconfirmed: [] };
      await recordEdgePositions(pool, report(instanceId, positions), minuteMs);
      return instanceId;
    };

    it('is closed after four report intervals when every known number is settled, and open again when it reports', async () => {
      const instanceId = await heard(2);
      await settleTogether(instanceId, [1, 2, 3]);
      await pass(instanceId, 79_000);
      await advancePositions(pool, true);
      expect(await closedAt(instanceId)).toBeUndefined();
      await pass(instanceId, 80_000);
      await advancePositions(pool, true);
      expect(await closedAt(instanceId)).toBe(3);
      await recordEdgePositions(pool, report(instanceId, undefined), minuteMs);
      expect(await closedAt(instanceId)).toBeUndefined();
      await pool.query('update edges set closed_at = now() where instance_id = $1', [instanceId]);
    });

    it('is not closed before 15 minutes while a number is missing or is retried, and not while a half is missing', async () => {
      const [missing, retried, half] = [await heard(2), await heard(1), await heard(1)];
      await settleTogether(missing, [2]);
      for (const instanceId of [retried, half]) await settleTogether(instanceId, [1]);
      await recorder.recordOpen({ instanceId: retried, number: 2, part: '' });
      await recorder.record(whole(half, 2, '0'));
      for (const instanceId of [missing, retried, half]) await pass(instanceId, 14 * minuteMs);
      await advancePositions(pool, true);
      for (const instanceId of [missing, retried, half]) expect(await closedAt(instanceId)).toBeUndefined();
      for (const instanceId of [missing, retried, half]) await pass(instanceId, 15 * minuteMs);
      await advancePositions(pool, true);
      expect([await closedAt(missing), await closedAt(retried), await closedAt(half)]).toEqual([2, 2, undefined]);
      await recorder.record(whole(half, 2, '1'));
      await advancePositions(pool, true);
      expect(await closedAt(half)).toBe(2);
    });

    it('that was closed with holes and reports again has its holes again: what is in them may be queued', async () => {
      const instanceId = await heard(4);
      await settleTogether(instanceId, [1, 3]);
      await pass(instanceId, 15 * minuteMs);
      await advancePositions(pool, true);
      expect(await closedAt(instanceId)).toBe(4);
      const positions = { last: 6, numberedBefore: 6_000, intervalMs: 20_000, unsent: [], unconfirmed: [] };
      await recordEdgePositions(pool, report(instanceId, positions), minuteMs);
      expect((await readPositions(pool)).settled[instanceId]).toBe(1);
      await advancePositions(pool, true);
      expect((await readPositions(pool)).settled[instanceId]).toBe(1);
      await settleTogether(instanceId, [2, 4, 5, 6]);
      expect((await readPositions(pool)).settled[instanceId]).toBe(6);
      await pool.query('update edges set closed_at = now() where instance_id = $1', [instanceId]);
    });

    it('is silent only for the time in which a worker consumes', async () => {
      const instanceId = await heard(0);
      const silentMs = async () =>
        (await pool.query<{ silent_ms: number }>('select silent_ms from edges where instance_id = $1', [instanceId]))
          .rows[0]!.silent_ms;
      await pool.query(
        `update edges set reported_at = now() - interval '1 h', silent_at = now() - interval '1 h' where instance_id = $1`,
        [instanceId],
      );
      await advancePositions(pool, false);
      expect(await silentMs()).toBe(0);
      await advancePositions(pool, true);
      expect(await silentMs()).toBe(2_000);
      await advancePositions(pool, true);
      expect(await silentMs()).toBe(2_000);
      await pool.query('update edges set closed_at = now() where instance_id = $1', [instanceId]);
    });
  });
});
