import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDataDirectory } from '@fleetwire/platform/servers/data-directory';
import { startNativePostgres } from '@fleetwire/platform/servers/native-postgres';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, it } from 'vitest';
import { envelope, readings, workerHarness } from './harness.ts';

const envelopes = 10;
const readingsEach = 30;
const linesPerRefusedReadingMax = 8;

it('a reading that Postgres refuses leaves few lines in the log of the server', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fleetwire-refusals-'));
  const server = await startNativePostgres(await openDataDirectory(folder, true, () => {}), process.env, () => {});
  cleanUp(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const logged = () => readFileSync(join(folder, 'postgres.log'), 'utf8').split('\n');

  const harness = await workerHarness({ databaseUrl: server.url });
  await harness.rows('alter table readings add constraint only_even check (seq % 2 = 0) not valid');
  const linesBefore = logged().length;
  await harness.worker();
  for (let device = 0; device < envelopes; device += 1)
    await harness.publish(envelope(readings(`device-${device}`, readingsEach)));

  const count = async (table: string) =>
    (await harness.rows<{ n: number }>(`select count(*) as n from ${table}`))[0]!.n;
  const half = (envelopes * readingsEach) / 2;
  await eventually(async () => expect([await count('dead_letters'), await count('readings')]).toEqual([half, half]));

  const lines = logged().slice(linesBefore);
  expect(lines.filter((line) => /transaction is aborted|no transaction in progress/.test(line)).length).toBeLessThan(
    10,
  );
  expect(lines.length / half).toBeLessThan(linesPerRefusedReadingMax);
});
