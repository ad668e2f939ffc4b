import type { DeadLetter } from '@fleetwire/contracts/dead-letter';
import { beforeEach, describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { insertDeadLetters } from '../src/dead-letters/insert.ts';
import { getDeadLetter, listDeadLetterActions } from '../src/dead-letters/browse.ts';
import { decideDeadLetters } from '../src/dead-letters/decisions.ts';
import { nextOfReplay, recordPublished, renewLease, takeReplay } from '../src/dead-letters/replay-lease.ts';
import { cancelReplay, createReplay, getReplay, type Replay } from '../src/dead-letters/replays.ts';
import { deleteExpiredDeadLetters } from '../src/dead-letters/retention.ts';
import { settleReplays } from '../src/dead-letters/settle.ts';
import { isTransient } from '../src/dead-letters/transient.ts';
import { freshStore } from './fixture.ts';
import { monday } from './reading.ts';

const { database } = await freshStore();
const { pool } = database;
const dayMs = 24 * 60 * 60 * 1_000;
const unknownAfterMs = 60_000;

beforeEach(async () => {
  await pool.query('truncate dead_letters, dead_letter_replays, dead_letter_replay_items, dead_letter_actions');
});

function deadLetter(seq: number, of: Partial<DeadLetter> = {}): DeadLetter {
  return {
    id: `letter-${seq}`,
    schemaVersion: '1.0',
    occurredAt: monday,
    type: 'reading.dead-lettered',
    reason: 'refused-by-database',
    error: { code: '22P05', message: 'unsupported Unicode escape sequence' },
    fingerprint: 'f',
    attempts: 1,
    firstFailedAt: monday,
    lastFailedAt: monday,
    deviceId: 'pump-1',
    epoch: 'boot',
    seq,
    payload: JSON.stringify({ seq, ts: monday, metrics: { t: 1 } }),
    payloadEncoding: 'json',
    ...of,
  };
}

async function replayAll(id = 'replay', { max = 100 } = {}): Promise<Replay> {
  const replay = await createReplay(database, {
    id,
    source: 'operator',
    createdBy: 'olga',
    selection: { statuses: ['open'] },
    ratePerSecond: 10,
    max,
    action: { action: 'replay-requested', details: {} },
  });
  return replay!;
}

/** Publishes the next of a job, as far as the store can tell. */
async function publishNext(replay: Replay, runner: string, limit = 100) {
  const offered = await nextOfReplay(database, { replay, limit });
  const items = offered.map(({ id, offeredAt, seq }) => ({
    deadLetterId: id,
    offeredAt,
    identity: { deviceId: 'pump-1', epoch: 'boot', seq: seq! },
  }));
  const lease = { replayId: replay.id, runner, leaseMs: 10_000 };
  return recordPublished(database, lease, { items, position: offered.at(-1)?.number ?? replay.position });
}

describe('a replay', () => {
  it('is held by one runner at a time, and can be taken by another once the lease has expired', async () => {
    await insertDeadLetters(pool, [deadLetter(1)]);
    await replayAll();
    const taken = await Promise.all(['a', 'b', 'c'].map((runner) => takeReplay(database, { runner, leaseMs: 10_000 })));
    expect(taken.filter((id) => id !== undefined)).toEqual(['replay']);

    await pool.query(`update dead_letter_replays set leased_until = now() - interval '1 ms'`);
    expect(await takeReplay(database, { runner: 'd', leaseMs: 10_000 })).toBe('replay');
    expect(await renewLease(database, { replayId: 'replay', runner: 'a', leaseMs: 10_000 })).toBe(false);
    expect(await renewLease(database, { replayId: 'replay', runner: 'd', leaseMs: 10_000 })).toBe(true);
  });

  it('counts a dead letter once that two runners have published, one after the other', async () => {
    await insertDeadLetters(pool, [deadLetter(1), deadLetter(2), deadLetter(3)]);
    const replay = await replayAll();
    await takeReplay(database, { runner: 'a', leaseMs: 10_000 });
    expect(await publishNext(replay, 'a', 2)).toMatchObject({ published: 2 });
    // The heir starts from what it read before that was noted.
    await pool.query(`update dead_letter_replays set leased_until = now() - interval '1 ms'`);
    await pool.query(`update dead_letters set status = 'open'`);
    await takeReplay(database, { runner: 'b', leaseMs: 10_000 });
    expect(await publishNext(replay, 'b')).toMatchObject({ published: 3 });
    expect(await getDeadLetter(database, { id: 'letter-1' })).toMatchObject({ replays: 1 });
  });

  it('does not include dead letters that arrived after it was created', async () => {
    await insertDeadLetters(pool, [deadLetter(1)]);
    const replay = await replayAll();
    await insertDeadLetters(pool, [deadLetter(2)]);
    expect(await nextOfReplay(database, { replay, limit: 10 })).toMatchObject([{ id: 'letter-1' }]);
  });

  it('is held by no runner after it was cancelled', async () => {
    await insertDeadLetters(pool, [deadLetter(1)]);
    const replay = await replayAll();
    await takeReplay(database, { runner: 'a', leaseMs: 10_000 });
    expect(await cancelReplay(database, { id: 'replay', actor: 'otto' })).toMatchObject({ state: 'cancelled' });
    expect(await publishNext(replay, 'a')).toBeUndefined();
    expect(await takeReplay(database, { runner: 'b', leaseMs: 10_000 })).toBeUndefined();
    expect(await listDeadLetterActions(database, { limit: 10 })).toMatchObject([
      { action: 'replay-cancelled', actor: 'otto' },
      { action: 'replay-requested', actor: 'olga' },
    ]);
  });
});

describe('the outcome of a replay', () => {
  it('comes from the sequence ledger and from later failures, not from a second delivery of the same dead letter', async () => {
    const letters = [1, 2, 3].map((seq) => deadLetter(seq));
    await insertDeadLetters(pool, letters);
    const replay = await replayAll();
    await takeReplay(database, { runner: 'a', leaseMs: 10_000 });
    await publishNext(replay, 'a');
    const reading = { deviceId: 'pump-1', epoch: 'boot', ts: monday, receivedAt: monday, metrics: { t: 1 } };
    await createBatchWriter(pool).write([{ ...reading, seq: 1 }]);
    await insertDeadLetters(pool, [deadLetter(2, { lastFailedAt: monday + 1 }), deadLetter(3)]);

    expect(await settleReplays(database, { limit: 10, unknownAfterMs })).toEqual({ checked: 3, settled: 2 });
    expect(await getReplay(database, { id: 'replay' })).toMatchObject({ stored: 1, failedAgain: 1, unknown: 0 });
    expect(await getDeadLetter(database, { id: 'letter-1' })).toMatchObject({ status: 'stored', repeated: 0 });
    expect(await getDeadLetter(database, { id: 'letter-2' })).toMatchObject({ status: 'open', repeated: 1 });
    expect(await getDeadLetter(database, { id: 'letter-3' })).toMatchObject({ status: 'replaying', repeated: 0 });
  });
});

describe('retention of dead letters', () => {
  it('deletes dead letters that were stored or discarded long ago, and open ones only if configured', async () => {
    await insertDeadLetters(
      pool,
      [1, 2, 3].map((seq) => deadLetter(seq)),
    );
    const decided = { actor: 'olga', reason: 'old', limit: 10, decision: 'discarded' } as const;
    await decideDeadLetters(database, { ...decided, selection: { ids: ['letter-1', 'letter-2'] } });
    await pool.query(`update dead_letters set changed_at = now() - interval '91 days' where id = 'letter-1'`);
    const kept = async () => (await pool.query<{ id: string }>('select id from dead_letters order by id')).rows;

    expect(await deleteExpiredDeadLetters(pool, { now: Date.now(), settledDays: 90 })).toBe(1);
    expect(await kept()).toEqual([{ id: 'letter-2' }, { id: 'letter-3' }]);
    const now = monday + 11 * dayMs;
    expect(await deleteExpiredDeadLetters(pool, { now, settledDays: 90_000 / 365, openDays: 10 })).toBe(1);
    expect(await kept()).toEqual([{ id: 'letter-2' }]);
  });
});

it.each([
  ['retries-exhausted', '40P01', 'deadlock detected', true],
  ['retries-exhausted', '53300', 'too many connections', true],
  ['retries-exhausted', 'unknown', 'Connection terminated unexpectedly', true],
  ['retries-exhausted', 'P0001', 'not today', false],
  ['retries-exhausted', '22P05', 'unsupported Unicode escape sequence', false],
  ['delivery-limit', 'dead-lettered-by-broker', 'the broker gave up: delivery_limit', true],
  ['refused-by-database', '40P01', 'deadlock detected', false],
  ['kills-the-worker', 'no-verdict', 'delivered 5 times without a verdict', false],
])('%s by %s (%s) is transient: %s', (reason, code, message, expected) => {
  expect(isTransient({ reason, code, message })).toBe(expected);
});
