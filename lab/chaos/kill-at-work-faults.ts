import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultProxy } from '@fleetwire/platform/faults/fault-proxy';
import type { ServiceProcess } from '@fleetwire/platform/processes/service-process';
import type { Random } from '../fleet/random.ts';
import type { Fault, StallName } from './fault.ts';

const stallMinMs = 300;
const stallMaxMs = 1_200;
const stateTimeoutMs = 500;
const frequent = { isFrequent: true, holdMinMs: 100, holdMaxMs: 1_000 } as const;

/**
 * SIGKILL of the instance that does the work, while it waits for an answer. What it had confirmed before that answer is then lost, so these
 * faults find a confirmation that comes too early. They are injected every few seconds.
 */
export const killAtWorkFaults: readonly Fault[] = [
  {
    name: 'persistence-worker-killed-before-commit',
    what: 'Postgres stops answering; the worker that holds the oldest reading is killed (SIGKILL), then started again',
    component: 'persistence-worker',
    ...frequent,
    inject: ({ services, stalls }, random) =>
      killWhileStalled(services['persistence-worker'], stalls, 'commits', random),
  },
  {
    name: 'ingest-ws-killed-before-confirm',
    what: 'RabbitMQ stops confirming; an instance that has received readings is killed (SIGKILL), then started again',
    component: 'ingest-ws',
    ...frequent,
    inject: ({ services, stalls }, random) => killWhileStalled(services['ingest-ws'], stalls, 'confirms', random),
  },
];

async function killWhileStalled(
  instances: readonly ServiceProcess[],
  stalls: Readonly<Record<StallName, FaultProxy>>,
  name: StallName,
  random: Random,
) {
  const proxy = stalls[name];
  // In one of three cases the server receives all of it, and only its answers are lost.
  proxy.stall(random() < 2 / 3 ? 'both' : 'to-client');
  try {
    await sleep(stallMinMs + random() * (stallMaxMs - stallMinMs));
    const chosen = await pickHolder(instances, random);
    await chosen.kill();
    return async () => {
      chosen.start();
      await chosen.untilAlive();
    };
  } finally {
    // What the proxy holds back must not arrive after the process is gone.
    proxy.reset();
    proxy.resume();
  }
}

/** The worker that holds the oldest reading; where none holds any, one at random. */
export async function pickHolder(instances: readonly ServiceProcess[], random: Random): Promise<ServiceProcess> {
  return (await oldestHolder(instances)) ?? instances[Math.floor(random() * instances.length)]!;
}

/** The worker that holds the oldest reading; undefined where none holds any, and for ingest-ws, which has no such state. */
async function oldestHolder(instances: readonly ServiceProcess[]): Promise<ServiceProcess | undefined> {
  const arrivals = await Promise.all(
    instances.map(async (instance) => {
      const oldestArrivalAt = await oldestArrivalOf(instance).catch(() => null);
      return { instance, oldestArrivalAt: oldestArrivalAt ?? Number.POSITIVE_INFINITY };
    }),
  );
  const [first] = arrivals.toSorted((a, b) => a.oldestArrivalAt - b.oldestArrivalAt);
  return first?.oldestArrivalAt === Number.POSITIVE_INFINITY ? undefined : first?.instance;
}

async function oldestArrivalOf({ url }: ServiceProcess): Promise<number | null | undefined> {
  const response = await fetch(`${url}/state`, { signal: AbortSignal.timeout(stateTimeoutMs) });
  return response.ok ? ((await response.json()) as { oldestArrivalAt?: number | null }).oldestArrivalAt : undefined;
}
