import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Pipeline } from './durable-rate.ts';
import { freshPlace } from './fresh.ts';
import { type PeerName, startPeerProcesses } from './peer-processes.ts';
import { meterBesideServers } from './platform.ts';
import type { StudyContext } from './study.ts';
import { deviceIdOf } from './workload.ts';

const storedIntervalMs = 100;
const storedTimeoutMs = 300_000;

/** One of the pipelines of `lab/bench/peers`, on a vhost and a database of its own in the bench's servers. */
export async function startPeer(context: StudyContext, peer: PeerName): Promise<Pipeline> {
  const { services, logDir } = context;
  await using started = new AsyncDisposableStack();
  const { amqpUrl, databaseUrl } = started.use(await freshPlace(services));
  const { webSocketUrl, pids } = started.use(
    await startPeerProcesses(peer, { amqpUrl, databaseUrl, logDir: join(logDir, peer) }),
  );
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  started.defer(() => database.end());
  const storedRows = async (): Promise<number> => {
    const { rows } = await database.query<{ n: number }>('select count(*)::float8 as n from readings');
    return rows[0]!.n;
  };
  const stack = started.move();
  return {
    webSocketUrls: [webSocketUrl],
    // They take a device's name for its token.
    tokens: (devices) => Promise.resolve(Array.from({ length: devices }, (_, index) => deviceIdOf(index))),
    meter: (loadPids) => meterBesideServers(services, { ...pids, ...loadPids }),
    untilStored: async (readings) => {
      const deadline = performance.now() + storedTimeoutMs;
      while ((await storedRows()) < readings) {
        if (performance.now() > deadline) throw new Error(`${readings} readings were not stored in time`);
        await sleep(storedIntervalMs);
      }
      return performance.timeOrigin + performance.now();
    },
    assertRows: async (expected) => {
      const rows = await storedRows();
      if (rows !== expected) throw new Error(`${rows} rows are stored instead of ${expected}`);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
