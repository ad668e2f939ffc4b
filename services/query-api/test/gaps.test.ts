import { expect, it } from 'vitest';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const noon = Date.UTC(2026, 0, 1, 12);
const store = await freshStore();
const api = await startApi({ DATABASE_URL: store.databaseUrl });

it('the gaps page of a device counts readings that reuse a number, and names the newest', async () => {
  const token = await tokenFor('device', 'pump-1');
  const readings = Array.from({ length: 10 }, (_, seq) => reading({ seq, ts: noon + seq }));
  await store.write(readings);
  const epochs = async () => (await api.get('/api/v1/devices/pump-1/gaps', { token })).body.epochs;
  expect(await epochs()).toMatchObject([{ stored: 10, missing: 0, conflicting: 0, newestConflicts: [] }]);
  await store.write(readings);
  await store.write(readings.slice(3).map((one) => ({ ...one, ts: one.ts + 60_000 })));
  expect(await epochs()).toMatchObject([
    {
      stored: 10,
      missing: 0,
      conflicting: 7,
      newestConflicts: [9, 8, 7, 6, 5].map((seq) => ({
        seq,
        storedTs: `2026-01-01T12:00:00.00${seq}Z`,
        refusedTs: `2026-01-01T12:01:00.00${seq}Z`,
        receivedAt: '2026-01-02T00:00:00.000Z',
      })),
    },
  ]);
});
