import { fileURLToPath } from 'node:url';
import { processTree, signalAll } from '../processes/process-tree.ts';
import type { BackingMode, BackingServices } from '../servers/backing-services.ts';
import { startTemporaryBackingServices } from '../servers/temporary.ts';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Each with a user that has all permissions. Tests use `freshVhost()` and `freshDatabase()`, not the vhost and database named here. */
    amqpUrl: string;
    managementUrl: string;
    databaseUrl: string;
    /** Where RabbitMQ comes from in this run. */
    backingKind: BackingServices['kind']['rabbitmq'];
  }
}

const endings = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const;
const modes: readonly BackingMode[] = ['auto', 'native', 'containers'];

/** One RabbitMQ and one Postgres for the whole run. FLEETWIRE_TEST_BACKING is the backing services' mode. */
export default async function setUp(project: TestProject) {
  const mode = modes.find((known) => known === (process.env['FLEETWIRE_TEST_BACKING'] ?? 'auto'));
  if (!mode) throw new Error(`FLEETWIRE_TEST_BACKING must be one of ${modes.join(', ')}`);

  const starting = startTemporaryBackingServices({
    mode,
    parentDir: fileURLToPath(new URL('../../../../.fleetwire', import.meta.url)),
    log: (line) => console.log(`backing services: ${line}`),
  });
  const stopOnce = once(async () => (await starting).stop());
  // vitest's own listeners exit a millisecond after the signal and would leave the servers running. Not `once`: the listener would be removed
  // before it is called, and signal-exit, which testcontainers brings, kills the process where it finds no listener but its own.
  for (const [signal, exitCode] of endings) {
    process.removeAllListeners(signal);
    process.on(signal, () => void stopOnce().finally(() => exitAlone(exitCode)));
  }

  const services = await starting;
  project.provide('amqpUrl', services.amqpUrl);
  project.provide('managementUrl', services.managementUrl);
  project.provide('databaseUrl', services.databaseUrl);
  project.provide('backingKind', services.kind.rabbitmq);
  return stopOnce;
}

/** Vitest kills its workers when this process is gone, before they could end the services and servers of their tests. */
function exitAlone(exitCode: number): void {
  try {
    signalAll(processTree(process.pid).slice(1), 'SIGKILL');
  } finally {
    process.exit(exitCode);
  }
}

function once(action: () => Promise<void>): () => Promise<void> {
  let result: Promise<void> | undefined;
  return () => (result ??= action());
}
