import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, inject, it } from 'vitest';
import { containerEngineAnswers } from '../src/servers/containers.ts';
import { openDataDirectory } from '../src/servers/data-directory.ts';
import { startTemporaryBackingServices } from '../src/servers/temporary.ts';

const parentDir = mkdtempSync(join(tmpdir(), 'fleetwire-temporary-'));

afterAll(() => rmSync(parentDir, { recursive: true, force: true }));

/** Backing services that are there, so that nothing is started. */
const given = () => ({
  mode: 'auto' as const,
  parentDir,
  env: { AMQP_URL: inject('amqpUrl'), DATABASE_URL: inject('databaseUrl') },
});

it('removes the folders of killed runs and nothing else', async () => {
  const longAgo = new Date(2026, 0, 1);
  mkdirSync(join(parentDir, 'test-abandoned'));
  mkdirSync(join(parentDir, 'data'));
  writeFileSync(join(parentDir, 'test-report.json'), '{}');
  for (const name of readdirSync(parentDir)) utimesSync(join(parentDir, name), longAgo, longAgo);

  const services = await startTemporaryBackingServices({ ...given(), log: () => {} });
  await services.stop();
  expect(readdirSync(parentDir).toSorted()).toEqual(['data', 'test-report.json']);
});

it('keeps a folder that names containers until a container engine answers, and starts', async ({ skip }) => {
  if (await containerEngineAnswers()) return skip('a container engine answers here');
  const folder = join(parentDir, 'test-containers');
  mkdirSync(folder);
  const directory = await openDataDirectory(folder, true, () => {});
  directory.remember({ kinds: { rabbitmq: 'containers', postgres: 'containers' } });
  directory.release();
  utimesSync(folder, new Date(2026, 0, 1), new Date(2026, 0, 1));

  const lines: string[] = [];
  const services = await startTemporaryBackingServices({ ...given(), log: (line) => lines.push(line) });
  await services.stop();
  expect(lines).toContain(`${folder} stays: a killed run may have left containers, and no container engine answers`);
  expect(readdirSync(folder)).toEqual(['backing-services.json']);
});
