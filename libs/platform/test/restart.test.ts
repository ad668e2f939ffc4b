import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { getContainerRuntimeClient } from 'testcontainers';
import { afterAll, describe, expect, inject, it } from 'vitest';
import { type BackingServices, startBackingServices } from '../src/servers/backing-services.ts';
import { manage } from '../src/servers/management.ts';

const kind = inject('backingKind');
const dataDir = mkdtempSync(join(tmpdir(), 'fleetwire-restart-'));
const requestTimeoutMs = 3_000;
const volumes = new Set<string>();
const queue = { durable: true, arguments: { 'x-queue-type': 'quorum' } };

afterAll(async () => {
  rmSync(dataDir, { recursive: true, force: true });
  if (volumes.size === 0) return;
  const { dockerode } = (await getContainerRuntimeClient()).container;
  for (const volume of volumes) await dockerode.getVolume(volume).remove();
});

describe.skipIf(kind === 'given')('backing services on the same data folder', () => {
  it('have their data after an orderly stop and after a kill, and are refused to a second run', async () => {
    {
      // RabbitMQ may forget a queue that is declared less than about a second before it is killed, so this run ends in order.
      await using first = await start();
      for (const { data } of first.describe())
        if (data.startsWith('volume ')) volumes.add(data.slice('volume '.length));
      await query(first.databaseUrl, 'create table kept (value int)');
      await manage(first.managementUrl, 'PUT', '/queues/%2F/kept', queue);
    }
    const killed = await startInOwnProcess();
    await query(killed.databaseUrl, 'insert into kept values (42)');
    await publish(killed.managementUrl, 'still here');
    await killed.kill();

    await using services = await start();
    expect(await query(services.databaseUrl, 'select value from kept')).toEqual([{ value: 42 }]);
    await expect.poll(() => messageIn(services.managementUrl)).toBe('still here');
    // A second run is refused, with the process id of the first.
    await expect(start()).rejects.toThrow(`in use by process ${process.pid}`);
  });
});

function start(log: (line: string) => void = () => {}): Promise<BackingServices> {
  return startBackingServices({ mode: kind === 'containers' ? 'containers' : 'native', dataDir, log });
}

async function startInOwnProcess() {
  const program = fileURLToPath(new URL('run-until-killed.ts', import.meta.url));
  const child = spawn(process.execPath, [program, kind, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  const urls = JSON.parse(line) as { databaseUrl: string; managementUrl: string };
  return {
    ...urls,
    async kill() {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}

async function query(connectionString: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function publish(managementUrl: string, payload: string) {
  const message = { properties: { delivery_mode: 2 }, routing_key: 'kept', payload, payload_encoding: 'string' };
  const published = () =>
    manage(managementUrl, 'POST', '/exchanges/%2F/amq.default/publish', message, requestTimeoutMs).catch(String);
  await expect.poll(published).toEqual({ routed: true });
}

/** Answers only once the queue has elected its leader; a request that comes before then may be left hanging. */
async function messageIn(managementUrl: string): Promise<unknown> {
  const request = { count: 1, ackmode: 'ack_requeue_true', encoding: 'auto' };
  const messages = await manage(managementUrl, 'POST', '/queues/%2F/kept/get', request, requestTimeoutMs).catch(
    () => [],
  );
  return (messages as { payload: string }[])[0]?.payload;
}
