import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDataDirectory } from '@fleetwire/platform/servers/data-directory';
import { startNativePostgres } from '@fleetwire/platform/servers/native-postgres';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, it } from 'vitest';
import { envelope, metric, readings, workerHarness } from './harness.ts';

/** A server of this test's own, whose settings it may change. */
async function ownPostgres(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'fleetwire-durability-'));
  const directory = await openDataDirectory(folder, true, () => {});
  const server = await startNativePostgres(directory, process.env, () => {});
  cleanUp(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return server.url;
}

it.each(['fsync', 'full_page_writes'])(
  'the worker stores nothing while %s is off on the server, and /readyz names the setting and the remedy',
  async (setting) => {
    const harness = await workerHarness({ databaseUrl: await ownPostgres() });
    await harness.rows(`alter system set ${setting} = off`);
    await harness.rows('select pg_reload_conf()');
    await eventually(async () => expect(await harness.rows(`show ${setting}`)).toEqual([{ [setting]: 'off' }]));

    const worker = await harness.worker();
    await harness.publish(envelope(readings('waiting', 5)));
    await eventually(async () => {
      const answer = await fetch(`${worker.url}/readyz`);
      expect(answer.status).toBe(503);
      const { checks } = (await answer.json()) as { checks: Record<string, string> };
      expect(checks['database']).toContain(`${setting} is off on the Postgres server`);
      expect(checks['database']).toContain(`ALTER SYSTEM SET ${setting} = on; SELECT pg_reload_conf();`);
      // The envelope is here, and is not stored.
      expect(await harness.waiting()).toBe(0);
      expect(await metric(worker, 'fleetwire_worker_holding')).toBe(1);
    });
    expect(await harness.stored('waiting')).toBe(0);

    await harness.rows(`alter system set ${setting} = on`);
    await harness.rows('select pg_reload_conf()');
    await eventually(async () => expect(await harness.stored('waiting')).toBe(5));
    await eventually(async () => expect((await fetch(`${worker.url}/readyz`)).status).toBe(200));
  },
);
