import { expect, it } from 'vitest';
import { startProcess } from './query-api-process.ts';
import { freshStore } from './stored.ts';

const store = await freshStore();

it('starts as a process, becomes ready, and exits with code 0 after SIGTERM', async () => {
  const service = await startProcess({ DATABASE_URL: store.databaseUrl });
  expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
  expect(await service.stop()).toEqual([0, null]);
});
