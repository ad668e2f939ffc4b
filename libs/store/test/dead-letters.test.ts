import type { DeadLetter } from '@fleetwire/contracts/dead-letter';
import { beforeEach, describe, expect, it } from 'vitest';
import { insertDeadLetters } from '../src/dead-letters/insert.ts';
import { freshStore } from './fixture.ts';
import { monday } from './reading.ts';

const { database } = await freshStore();
const { pool } = database;

beforeEach(async () => {
  await pool.query('truncate dead_letters cascade');
});

function deadLetter(of: Partial<DeadLetter> = {}): DeadLetter {
  return {
    id: 'letter-1',
    schemaVersion: '1.0',
    occurredAt: monday,
    type: 'reading.dead-lettered',
    reason: 'refused-by-database',
    error: { code: '22P05', message: 'unsupported Unicode escape sequence' },
    fingerprint: 'refused-by-database/22P05',
    attempts: 1,
    firstFailedAt: monday,
    lastFailedAt: monday + 1,
    payload: '{"seq":1}',
    payloadEncoding: 'json',
    ...of,
  };
}

async function stored() {
  const { rows } = await pool.query<Record<string, unknown>>('select * from dead_letters order by id');
  return rows;
}

describe('dead letters', () => {
  it('are stored with all their members', async () => {
    const known = { deviceId: 'pump-1', epoch: 'boot-1', seq: 7, receivedAt: monday + 5 };
    expect(
      await insertDeadLetters(pool, [
        deadLetter(known),
        deadLetter({ id: 'letter-2', payload: 'AAEC', payloadEncoding: 'base64' }),
      ]),
    ).toBe(2);
    expect(await stored()).toMatchObject([
      {
        id: 'letter-1',
        reason: 'refused-by-database',
        error_code: '22P05',
        attempts: 1,
        first_failed_at: monday,
        last_failed_at: monday + 1,
        device_id: 'pump-1',
        epoch: 'boot-1',
        seq: 7,
        received_at: monday + 5,
        payload: Buffer.from('{"seq":1}'),
        payload_encoding: 'json',
      },
      { id: 'letter-2', device_id: null, seq: null, received_at: null, payload: Buffer.from([0, 1, 2]) },
    ]);
  });

  it('are stored once, with the largest number of attempts and the last failure', async () => {
    await insertDeadLetters(pool, [deadLetter({ attempts: 3, lastFailedAt: monday + 9 })]);
    expect(
      await insertDeadLetters(pool, [
        deadLetter({ attempts: 2 }),
        deadLetter({ attempts: 5 }),
        deadLetter({ id: 'letter-2' }),
      ]),
    ).toBe(1);
    expect(await stored()).toMatchObject([{ attempts: 5, last_failed_at: monday + 9 }, { id: 'letter-2' }]);
  });

  it('are stored also when Postgres refuses their values', async () => {
    const unreadable = {
      deviceId: 'a\0b',
      epoch: '\ud800',
      seq: 1e300,
      receivedAt: -1e300,
      error: { code: '\0', message: 'a\0b' },
      payload: '{"a":"\0"}',
    };
    expect(await insertDeadLetters(pool, [deadLetter(unreadable)])).toBe(1);
    expect(await stored()).toMatchObject([
      { device_id: 'a\u{FFFD}b', seq: null, received_at: null, payload: Buffer.from('{"a":"\0"}') },
    ]);
  });

  it('with one id are stored once when several workers insert them concurrently', async () => {
    const letters = Array.from({ length: 200 }, (_, index) => deadLetter({ id: `letter-${index}` }));
    const added = await Promise.all(
      [letters, letters.toReversed(), letters].map((batch) => insertDeadLetters(pool, batch)),
    );
    expect(added.reduce((sum, one) => sum + one)).toBe(200);
  });
});
