import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, inject, it } from 'vitest';
import { startTemporaryBackingServices } from '../src/servers/temporary.ts';

const parentDir = mkdtempSync(join(tmpdir(), 'fleetwire-temporary-'));

afterAll(() => rmSync(parentDir, { recursive: true, force: true }));

it('removes the folders of killed runs and nothing else', async () => {
  const longAgo = new Date(2026, 0, 1);
  mkdirSync(join(parentDir, 'test-abandoned'));
  mkdirSync(join(parentDir, 'data'));
  writeFileSync(join(parentDir, 'test-report.json'), '{}');
  for (const name of readdirSync(parentDir)) utimesSync(join(parentDir, name), longAgo, longAgo);

  const services = await startTemporaryBackingServices({
    mode: 'auto',
    parentDir,
    log: () => {},
    env: { AMQP_URL: inject('amqpUrl'), DATABASE_URL: inject('databaseUrl') },
  });
  await services.stop();
  expect(readdirSync(parentDir).toSorted()).toEqual(['data', 'test-report.json']);
});
