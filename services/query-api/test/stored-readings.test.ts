import { deadLetterSchemaVersion, deadLetterType } from '@fleetwire/contracts/dead-letter';
import { insertDeadLetters } from '@fleetwire/store/dead-letters/insert';
import { expect, it } from 'vitest';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const noon = Date.UTC(2026, 0, 1, 12);
const store = await freshStore();
const api = await startApi({ DATABASE_URL: store.databaseUrl });

async function ask(runs: readonly object[], token?: string) {
  return api.get('/api/v1/live/stored', { method: 'POST', body: { runs }, token });
}

function run(first: number, last: number, changes: object = {}) {
  return { deviceId: 'pump-1', epoch: 'boot-1', first, last, ...changes };
}

async function deadLetter(seq: number, id: string): Promise<void> {
  const letter = {
    type: deadLetterType as typeof deadLetterType,
    schemaVersion: deadLetterSchemaVersion,
    occurredAt: noon,
    reason: 'refused-by-database' as const,
    error: { code: '22P05', message: 'no NUL' },
    fingerprint: 'f',
    attempts: 1,
    firstFailedAt: noon,
    lastFailedAt: noon,
    payload: '{}',
    payloadEncoding: 'json' as const,
  };
  await insertDeadLetters(store.database.pool, [{ ...letter, id, deviceId: 'pump-1', epoch: 'boot-1', seq }]);
}

it('the numbers of each run are stored, dead letters, or neither, across blocks of the sequence ledger', async () => {
  const seqs = [3, 4, 5, 1_022, 1_023, 1_024, 1_025, 1_030];
  await store.write(seqs.map((seq) => reading({ seq, ts: noon + seq })));
  await deadLetter(6, 'l6');
  await deadLetter(4, 'stored-by-a-replay');
  const { status, body } = await ask([
    run(4, 8),
    run(1_000, 1_030),
    run(0, 2),
    run(4, 8, { epoch: 'other' }),
    run(4, 8, { deviceId: 'unknown' }),
  ]);
  expect(status).toBe(200);
  expect(body).toEqual({
    runs: [
      {
        stored: [[4, 5]],
        dead: [{ seq: 6, reason: 'refused-by-database', message: 'no NUL', deadLetterId: 'l6' }],
      },
      {
        stored: [
          [1_022, 1_023],
          [1_024, 1_025],
          [1_030, 1_030],
        ],
        dead: [],
      },
      { stored: [], dead: [] },
      { stored: [], dead: [] },
      { stored: [], dead: [] },
    ],
  });
});

it('a device asks for itself only; runs that are too long together, or a run that ends before it begins, are refused by their place', async () => {
  const device = await tokenFor('device', 'pump-1');
  expect((await ask([run(3, 3)], device)).body).toEqual({ runs: [{ stored: [[3, 3]], dead: [] }] });
  expect((await ask([run(3, 3), run(3, 3, { deviceId: 'pump-2' })], device)).status).toBe(403);
  // The same run again and again would have as many answers.
  for (const runs of [[run(0, 9_999), run(0, 10_000)], Array.from({ length: 21 }, () => run(0, 999))])
    expect(await ask(runs)).toMatchObject({
      status: 422,
      body: { errors: [{ field: `body.runs.${runs.length - 1}` }] },
    });
  expect((await ask([run(0, 19_999)], device)).status).toBe(200);
  expect((await ask([run(2, 1)])).status).toBe(400);
});
