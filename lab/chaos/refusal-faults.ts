import { setTimeout as sleep } from 'node:timers/promises';
import { retrySteps, retryQueue } from '@fleetwire/broker/topology';
import { eventually } from '@fleetwire/platform/testing/eventually';
import type { Random } from '../fleet/random.ts';
import { DeadLetterOperator } from './dead-letters.ts';
import type { Fault } from './fault.ts';
import { pickHolder } from './kill-at-work-faults.ts';
import type { ChaosPlatform } from './platform.ts';
import { type Refusal, refusalStates, refuse } from './refusals.ts';

const forRetry: Refusal = { state: refusalStates.unknown, every: 3 };
const forDeadLetters: Refusal = { state: refusalStates.badData, every: 7 };

const retryQueues = retrySteps.map((step) => retryQueue(step).replaceAll('.', '\\.')).join('|');
const delayPolicy = '/policies/%2F/chaos-retry-delay';
const limitPolicy = '/policies/%2F/chaos-retry-limit';
/** For all retry steps; the queues are declared with 10 s to 10 minutes. */
const retryDelayMs = 1_000;
const healTimeoutMs = 60_000;
const healIntervalMs = 200;

const retryingMinMs = 500;
const retryingMaxMs = 1_500;
const replayedPerSecond = 20;
const replayedMin = 30;
/** Workers that were killed again and again store nothing for seconds. */
const arrivalMs = 8_000;
const waitMs = 3_000;
const waitIntervalMs = 100;

/** Shortens the retry steps, for readings to pass through all of them within seconds. */
export async function shortenRetries({ manage }: Pick<ChaosPlatform, 'manage'>): Promise<void> {
  await manage('PUT', delayPolicy, {
    pattern: `^(${retryQueues})$`,
    definition: { 'message-ttl': retryDelayMs },
    'apply-to': 'queues',
  });
}

/** Postgres refuses readings for a time: they pass through the retry queues, or are dead-lettered and replayed. */
export const refusalFaults: readonly Fault[] = [
  {
    name: 'readings-refused',
    what: 'Postgres refuses a third of all readings with an unknown error: their messages pass through the retry queues',
    component: 'refusals',
    isFrequent: true,
    holdMinMs: 300,
    holdMaxMs: 1_500,
    inject: ({ backing }) => refuse(backing, forRetry),
  },
  {
    name: 'persistence-worker-killed-while-retrying',
    what: 'the same with full retry queues; the worker that holds the oldest reading is killed (SIGKILL), then started again',
    component: 'persistence-worker',
    isFrequent: true,
    holdMinMs: 100,
    holdMaxMs: 1_000,
    inject: killWhileRetrying,
  },
  {
    name: 'persistence-worker-killed-in-replay',
    what: 'Postgres refuses readings as bad data; once it accepts them, their dead letters are replayed over the API, and a worker is killed (SIGKILL)',
    component: 'persistence-worker',
    holdMinMs: 100,
    holdMaxMs: 1_000,
    inject: killInReplay,
  },
];

async function killWhileRetrying({ backing, manage, services }: ChaosPlatform, random: Random) {
  // Without RabbitMQ or Postgres, the kill alone is left.
  await manage('PUT', limitPolicy, {
    pattern: `^(${retryQueues})$`,
    definition: { 'max-length': 1, 'message-ttl': retryDelayMs },
    priority: 1,
    'apply-to': 'queues',
  }).catch(() => {});
  const lift = await refuse(backing, forRetry);
  await sleep(retryingMinMs + random() * (retryingMaxMs - retryingMinMs));
  const chosen = await pickHolder(services['persistence-worker'], random);
  await chosen.kill();
  return async () => {
    chosen.start();
    await Promise.all([
      lift(),
      eventually(() => manage('DELETE', limitPolicy).catch(unlessMissing), {
        timeoutMs: healTimeoutMs,
        intervalMs: healIntervalMs,
      }),
      chosen.untilAlive(),
    ]);
  };
}

async function killInReplay(platform: ChaosPlatform, random: Random) {
  const { backing, services } = platform;
  const operator = await DeadLetterOperator.of(platform);
  // What fails or takes too long because of other faults is left to the replay after the last fault.
  const inTime = (attempt: () => Promise<void>, timeoutMs = waitMs) =>
    eventually(attempt, { timeoutMs, intervalMs: waitIntervalMs }).catch(() => {});
  const lift = await refuse(backing, forDeadLetters);
  await inTime(async () => {
    const open = (await operator.unsettled()).reduce((sum, { byStatus }) => sum + byStatus.open, 0);
    if (open < replayedMin) throw new Error(`${open} dead letters have arrived`);
  }, arrivalMs);
  await lift();
  await inTime(async () => {
    const replays = await operator.replayOpen(replayedPerSecond);
    for (const { id } of replays)
      await inTime(async () => {
        if ((await operator.replay(id)).counts.published === 0) throw new Error('nothing is published');
      });
  });
  const chosen = await pickHolder(services['persistence-worker'], random);
  await chosen.kill();
  return async () => {
    chosen.start();
    await chosen.untilAlive();
  };
}

/** A policy that was never created need not be deleted. */
function unlessMissing(error: Error): void {
  if (!error.message.includes('404')) throw error;
}
