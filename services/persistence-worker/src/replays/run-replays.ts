import { setTimeout as sleep } from 'node:timers/promises';
import { createRetryingPublisher } from '@fleetwire/broker/retrying-publisher';
import type { Publisher } from '@fleetwire/broker/publisher';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Database } from '@fleetwire/store/database';
import {
  finishPublishing,
  type Lease,
  nextOfReplay,
  type Offered,
  type PublishedItem,
  recordPublished,
  releaseReplay,
  renewLease,
  takeReplay,
} from '@fleetwire/store/dead-letters/replay-lease';
import { getReplay, type Replay } from '@fleetwire/store/dead-letters/replays';
import { repeat } from '../repeat.ts';
import { replayMessageOf } from './replay-message.ts';
import { TokenBucket } from './token-bucket.ts';

const batchMax = 100;
/** How soon a new job is taken. Looking for one is an index lookup that writes nothing. */
const pollMs = 250;
const failurePauseMs = 1_000;
const renewalsPerLease = 3;

export interface RunReplaysOptions {
  readonly database: Database;
  readonly publisher: Publisher;
  /** Unique among all runners. */
  readonly runner: string;
  /** Another runner takes over a job whose lease was not renewed for this long. */
  readonly leaseMs: number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Publishes one replay after the other, each at its rate; any number of runners may do so at the same time. The progress of a job is in
 * the database: when a runner is killed, the next one publishes again what was not recorded yet. The sequence ledger makes that harmless.
 *
 * Resolves when the signal is aborted: confirmed messages are recorded, and another runner may take the job immediately.
 */
export function runReplays(options: RunReplaysOptions): Promise<void> {
  const { database, runner, leaseMs, logger, signal } = options;
  let replayId: string | undefined;
  const task = async (): Promise<number> => {
    replayId = undefined;
    replayId = await takeReplay(database, { runner, leaseMs, signal });
    if (replayId === undefined) return pollMs;
    await runReplay({ replayId, runner, leaseMs }, options);
    return 0;
  };
  const onFailure = (error: unknown) => logger.warn({ err: error, replay: replayId }, 'replay interrupted; retrying');
  return repeat(task, { failurePauseMs, onFailure, signal });
}

async function runReplay(lease: Lease, { database, signal: stopping, ...options }: RunReplaysOptions): Promise<void> {
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, stopping]);
  const renewing = keepLease(lease, { database, ended, signal });
  try {
    const replay = await getReplay(database, { id: lease.replayId });
    if (replay !== undefined) await publishReplay(replay, lease, { database, signal, ...options });
  } finally {
    ended.abort();
    await renewing;
    await releaseReplay(database, lease).catch(() => {});
  }
}

/** Renews the lease until the signal is aborted; a lease that is lost ends the run. */
async function keepLease(
  lease: Lease,
  { database, ended, signal }: { database: Database; ended: AbortController; signal: AbortSignal },
): Promise<void> {
  for (;;) {
    await sleep(lease.leaseMs / renewalsPerLease, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    // While the database is away no other runner can take the job either.
    const isHeld = await renewLease(database, lease).catch(() => true);
    if (!isHeld) ended.abort();
  }
}

async function publishReplay(
  job: Replay,
  lease: Lease,
  { database, publisher, logger, signal }: Pick<RunReplaysOptions, 'database' | 'publisher' | 'logger' | 'signal'>,
): Promise<void> {
  const { id, source, matched, ratePerSecond } = job;
  const limit = Math.min(batchMax, Math.ceil(ratePerSecond));
  const bucket = new TokenBucket({ ratePerSecond, burst: limit }, performance.now());
  const publish = createRetryingPublisher(publisher, signal, logger);
  let replay = job;
  logger.info({ replay: id, source, matched, published: job.published, ratePerSecond }, 'replay running');

  while (!signal.aborted) {
    const room = Math.min(limit, matched - replay.published);
    const offered = room <= 0 ? [] : await nextOfReplay(database, { replay, limit: room });
    if (offered.length === 0) {
      await finishPublishing(database, lease);
      logger.info({ replay: id, published: replay.published }, 'replay published');
      return;
    }
    const confirmed = await publishBatch(offered, replay, { bucket, publish, signal });
    const progress = await recordPublished(database, lease, confirmed);
    if (progress === undefined) return;
    replay = { ...replay, ...progress };
  }
}

interface Publishing {
  readonly bucket: TokenBucket;
  readonly publish: ReturnType<typeof createRetryingPublisher>;
  readonly signal: AbortSignal;
}

/** @returns the messages confirmed before the signal, and the position up to which all of them are confirmed */
async function publishBatch(
  offered: readonly Offered[],
  replay: Replay,
  { bucket, publish, signal }: Publishing,
): Promise<{ items: PublishedItem[]; position: number }> {
  const confirmed = new Map<number, PublishedItem>();
  const publishing: Promise<void>[] = [];
  for (const letter of offered) {
    await sleep(bucket.take(performance.now()), undefined, { signal }).catch(() => {});
    if (signal.aborted) break;
    const { message, identity } = replayMessageOf(letter, replay);
    const item = { deadLetterId: letter.id, offeredAt: letter.offeredAt, identity };
    publishing.push(publish(message).then(() => void confirmed.set(letter.number, item)));
  }
  // Only the signal ends a publish that is not confirmed.
  await Promise.allSettled(publishing);
  const gap = offered.findIndex(({ number }) => !confirmed.has(number));
  const last = offered[(gap === -1 ? offered.length : gap) - 1];
  return { items: [...confirmed.values()], position: last?.number ?? replay.position };
}
