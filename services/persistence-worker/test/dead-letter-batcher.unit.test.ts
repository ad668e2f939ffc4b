import { type DeadLetter, deadLetterSchemaVersion, deadLetterType } from '@fleetwire/contracts/dead-letter';
import { expect, it } from 'vitest';
import { DeadLetterBatcher } from '../src/dead-letter-batcher.ts';

function letter(id: string, payload = '{}'): DeadLetter {
  return {
    id,
    type: deadLetterType,
    schemaVersion: deadLetterSchemaVersion,
    occurredAt: 0,
    reason: 'refused-by-database',
    error: { code: '22P05', message: 'refused' },
    fingerprint: 'f',
    attempts: 1,
    firstFailedAt: 0,
    lastFailedAt: 0,
    payload,
    payloadEncoding: 'json',
  };
}

/** A batcher with one write at a time, and the ids of each write; writes with a refused id fail. */
function recording({ refused = [] as readonly string[] } = {}) {
  const writes: string[][] = [];
  const batcher = new DeadLetterBatcher({
    writesMax: 1,
    insert: async (letters) => {
      const ids = letters.map(({ id }) => id);
      writes.push(ids);
      await Promise.resolve();
      if (ids.some((id) => refused.includes(id))) throw new Error(`${ids.join()} refused`);
    },
  });
  return { batcher, writes };
}

it('dead letters that arrive during a write are written together', async () => {
  const { batcher, writes } = recording();
  const ids = Array.from({ length: 1_201 }, (_, n) => `${n}`);
  await Promise.all(ids.map((id) => batcher.write(letter(id))));
  expect(writes.map(({ length }) => length)).toEqual([1, 500, 500, 200]);
  expect(writes.flat()).toEqual(ids);
});

it('the others of a batch are written where one is refused', async () => {
  const { batcher, writes } = recording({ refused: ['5'] });
  const outcomes = await Promise.allSettled(Array.from({ length: 9 }, (_, n) => batcher.write(letter(`${n}`))));
  expect(outcomes.map(({ status }) => status)).toEqual(outcomes.map((_, n) => (n === 5 ? 'rejected' : 'fulfilled')));
  expect(outcomes[5]).toMatchObject({ reason: new Error('5 refused') });
  expect(writes).toHaveLength(8);
});

it('the same dead letter is written once for each arrival', async () => {
  const { batcher, writes } = recording();
  await Promise.all(['a', 'b', 'b', 'c', 'a'].map((id) => batcher.write(letter(id))));
  expect(writes).toEqual([['a'], ['b', 'c', 'a'], ['b']]);
});

it('large dead letters share no write beyond its bytes', async () => {
  const { batcher, writes } = recording();
  const large = 'x'.repeat(3 * 1024 * 1024);
  await Promise.all([batcher.write(letter('a')), ...['b', 'c'].map((id) => batcher.write(letter(id, large)))]);
  expect(writes).toEqual([['a'], ['b'], ['c']]);
});
