import { setTimeout as sleep } from 'node:timers/promises';
import { Gauge, type Registry } from '@fleetwire/runtime/metrics';
import { Problem } from '@fleetwire/runtime/problem';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Database } from '@fleetwire/store/database';
import { classifyFailure } from '@fleetwire/store/failure';
import { replayedPosition, writtenPosition } from '@fleetwire/store/log-position';
import type { ApiContext } from './route.ts';

export interface ReadReplica {
  /**
   * Asks the replica while it is close enough behind, else the primary; the primary, too, where the replica does not answer.
   * @param ask with the databases to ask; `lagMs` is undefined on the primary
   */
  read<T>(api: ApiContext, ask: (api: ApiContext, lagMs: number | undefined) => Promise<T>): Promise<T>;
  stop(): Promise<void>;
}

export interface ReadReplicaOptions {
  readonly primary: Database;
  readonly replica: Database;
  /** Of the replica, in place of those of the primary. */
  readonly databases: Pick<ApiContext, 'history' | 'scans'>;
  readonly lagMsMax: number;
  readonly registry: Registry;
  readonly logger: Logger;
}

const lookMs = 250;
const answerMsMax = 2_000;
const samplesMax = 1_000;

/**
 * Measures how far the replica is behind: a position of the primary's log that the replica has replayed was asked for at a time that is known
 * here, and whatever was committed before that is in the replica. No clocks are compared, and a replica that is cut off from the primary falls
 * behind.
 */
export function openReadReplica(options: ReadReplicaOptions): ReadReplica {
  const { primary, replica, databases, lagMsMax, registry, logger } = options;
  const stopping = new AbortController();
  let samples: { at: number; position: number }[] = [];
  /** Everything that was committed before this is in the replica; monotonic. */
  let freshAt = Number.NEGATIVE_INFINITY;
  let isFailing = false;

  const lagMs = (): number => Math.max(0, performance.now() - freshAt);
  void new Gauge({
    name: 'fleetwire_query_replica_lag_seconds',
    help: 'How far the read replica is behind the primary; +Inf while that is not known',
    registers: [registry],
    collect() {
      this.set(lagMs() / 1_000);
    },
  });

  const look = async (): Promise<void> => {
    const at = performance.now();
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(answerMsMax)]);
    const written = await writtenPosition(primary, { signal });
    const replayed = await replayedPosition(replica, { signal });
    if (replayed === undefined) throw new Error('the database of DATABASE_READ_URL is no replica');
    if (written.system !== replayed.system)
      throw new Error('the database of DATABASE_READ_URL is no replica of that of DATABASE_URL');
    samples.push({ at, position: written.position });
    const done = samples.findLast(({ position }) => position <= replayed.position);
    if (done !== undefined) {
      freshAt = Math.max(freshAt, done.at);
      samples = samples.filter((sample) => sample.at > done.at);
    }
    if (samples.length > samplesMax) samples.shift();
  };

  const watching = (async () => {
    while (!stopping.signal.aborted) {
      try {
        await look();
        if (isFailing) logger.info({}, 'the read replica answers again');
        isFailing = false;
      } catch (error) {
        if (!isFailing && !stopping.signal.aborted)
          logger.warn({ err: error }, 'failed to measure the lag of the read replica; the primary is asked');
        isFailing = true;
      }
      await sleep(lookMs, undefined, { signal: stopping.signal }).catch(() => {});
    }
  })();

  return {
    read: async (api, ask) => {
      const behind = lagMs();
      if (behind > lagMsMax) return ask(api, undefined);
      try {
        return await ask({ ...api, ...databases }, Math.ceil(behind));
      } catch (error) {
        if (!isOfReplica(error)) throw error;
        return ask(api, undefined);
      }
    },
    stop: async () => {
      stopping.abort();
      await watching;
    },
  };
}

/** It is away, or has ended the query because replaying had to go on. */
function isOfReplica(error: unknown): boolean {
  return error instanceof Problem ? error.status === 503 : classifyFailure(error) === 'retry-now';
}
