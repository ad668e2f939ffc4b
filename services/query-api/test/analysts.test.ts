import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { insertDevice } from '@fleetwire/store/registry/changes';
import { describe, expect, it } from 'vitest';
import { startApi, tokenFor } from './running-api.ts';
import { freshStore, reading } from './stored.ts';

const page = await readFile(new URL('../../../docs/analysts.md', import.meta.url), 'utf8');
const examples = [...page.matchAll(/```sh\n([^]*?)```/g)].map(([, text]) => text ?? '');
const store = await freshStore();
const api = await startApi({ DATABASE_URL: store.databaseUrl });

await insertDevice(store.database, {
  deviceId: 'press-7',
  type: 'device.registered',
  actor: 'test',
  patch: {},
  state: {
    name: null,
    type: 'press',
    status: 'active',
    tags: ['site:north'],
    location: null,
    metadata: {},
    expectedIntervalMs: null,
    erasedBefore: null,
  },
});
await store.write(
  [Date.now() - 90_000, Date.UTC(2026, 9, 21), Date.UTC(2026, 9, 22)].map((ts, seq) =>
    reading({
      deviceId: 'press-7',
      seq,
      ts,
      receivedAt: ts,
      metrics: { temperature: 21.5, energy: 100 + seq, speed: 3 },
    }),
  ),
);

describe('the page for analysts', () => {
  it('has examples', () => expect(examples).toHaveLength(10));

  it.each(examples)('has an example that answers what is stored: %s', async (example) => {
    const { stdout } = await promisify(execFile)('bash', ['-c', example], {
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', FLEETWIRE: api.url, TOKEN: await tokenFor('analyst') },
    });
    const answer = JSON.parse(stdout);
    expect((answer.series ?? answer.rows ?? answer.data ?? answer.counts).length).toBeGreaterThan(0);
    expect(answer.covers.values ?? answer.covers.devices).toBeGreaterThan(0);
    expect(answer.covers.unknown ?? []).toEqual([]);
  });
});
