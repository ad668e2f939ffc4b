import { setTimeout as sleep } from 'node:timers/promises';
import { createPatientPublisher } from '@fleetwire/broker/patient-publisher';
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
import { publicationOf } from './publication.ts';
import { TokenBucket } from './token-bucket.ts';

const batchMax = 100;
const pollMs = 1_000;
const renewalsPerLease = 3;

export interface ReplayRunner {
  /** There may be something to do: do not wait for the next look. */
  wake(): void;
  /** Notes what is confirmed, and hands the job back. */
  stop(): Promise<void>;
}

export interface ReplayRunnerOptions {
  readonly database: Database;
  readonly publisher: Publisher;
  /** Unique among all runners. */
  readonly runner: string;
  /** A job whose runner was silent for so long is taken by another. */
  readonly leaseMs: number;
  readonly logger: Logger;
}

/**
 * Publishes one replay after the other, each at its rate, with any number of runners beside it. A job's progress is in the database: a
 * runner that dies leaves it to the next one, which publishes again what was not noted yet. The ledger of identities makes that harmless.
 */
export function startReplayRunner({ database, publisher, runner, leaseMs, logger }: ReplayRunnerOptions): ReplayRunner {
  const stopping = new AbortController();
  let idle = new AbortController();

  async function work(): Promise<void> {
    let isFailing = false;
    while (!stopping.signal.aborted) {
      try {
        const replayId = await takeReplay(database, { runner, leaseMs, signal: stopping.signal });
        isFailing = false;
        if (replayId !== undefined) await run({ replayId, runner, leaseMs });
        else await rest();
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (!isFailing) logger.warn({ err: error }, 'replays cannot go on, trying again');
        isFailing = true;
        await rest();
      }
    }
  }

  async function rest(): Promise<void> {
    idle = new AbortController();
    await sleep(pollMs, undefined, { signal: AbortSignal.any([idle.signal, stopping.signal]) }).catch(() => {});
  }

  async function run(lease: Lease): Promise<void> {
    const lost = new AbortController();
    const signal = AbortSignal.any([lost.signal, stopping.signal]);
    const renewing = keepLease(lease, lost, signal);
    try {
      const replay = await getReplay(database, { id: lease.replayId });
      if (replay !== undefined) await publishAll(replay, lease, signal);
    } finally {
      lost.abort();
      await renewing;
      await releaseReplay(database, lease).catch(() => {});
    }
  }

  async function keepLease(lease: Lease, lost: AbortController, signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(leaseMs / renewalsPerLease, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      // While the database is away nobody else takes the job either.
      const isOurs = await renewLease(database, lease).catch(() => true);
      if (!isOurs) lost.abort();
    }
  }

  async function publishAll(job: Replay, lease: Lease, signal: AbortSignal): Promise<void> {
    const { id, source, matched, ratePerSecond } = job;
    const limit = Math.min(batchMax, Math.ceil(ratePerSecond));
    const bucket = new TokenBucket({ ratePerSecond, burst: limit }, performance.now());
    const publish = createPatientPublisher(publisher, signal, logger);
    let replay = job;
    logger.info({ replay: id, source, matched, published: job.published, ratePerSecond }, 'replaying');

    while (!signal.aborted) {
      const room = Math.min(limit, matched - replay.published);
      const offered = room <= 0 ? [] : await nextOfReplay(database, { replay, limit: room });
      if (offered.length === 0) {
        await finishPublishing(database, lease);
        logger.info({ replay: id, published: replay.published }, 'replayed');
        return;
      }
      const confirmed = await publishBatch(offered, replay, { bucket, publish, signal });
      const progress = await recordPublished(database, lease, confirmed);
      if (progress === undefined) return;
      replay = { ...replay, ...progress };
    }
  }

  const working = work();
  return {
    wake: () => idle.abort(),
    stop: async () => {
      stopping.abort(new Error('the replay runner is stopping'));
      await working;
    },
  };
}

interface Publishing {
  readonly bucket: TokenBucket;
  readonly publish: ReturnType<typeof createPatientPublisher>;
  readonly signal: AbortSignal;
}

/** @returns what was confirmed before the signal; the job goes on behind the last of those without a gap */
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
    const { message, identity } = publicationOf(letter, replay);
    const item = { deadLetterId: letter.id, offeredAt: letter.offeredAt, identity };
    publishing.push(publish(message).then(() => void confirmed.set(letter.number, item)));
  }
  // Only the signal ends a patient publish.
  await Promise.allSettled(publishing);
  const gap = offered.findIndex(({ number }) => !confirmed.has(number));
  const last = offered[(gap === -1 ? offered.length : gap) - 1];
  return { items: [...confirmed.values()], position: last?.number ?? replay.position };
}
