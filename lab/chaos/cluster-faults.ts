import { queues } from '@fleetwire/broker/topology';
import type { ClusterNode } from '@fleetwire/platform/servers/rabbitmq-cluster';
import type { Fault } from './fault.ts';
import type { ChaosPlatform } from './platform.ts';

const component = 'rabbitmq';
const common = { component, on: ['cluster'], holdMinMs: 3_000, holdMaxMs: 10_000 } as const;

/** Faults that need several nodes. */
export const clusterFaults: readonly Fault[] = [
  {
    name: 'rabbitmq-leader-killed',
    what: "SIGKILL of the work queue's leader node; another node takes over",
    ...common,
    inject: (platform) => kill(platform, 1),
  },
  {
    name: 'rabbitmq-majority-killed',
    what: 'SIGKILL of the leader and a follower: nothing is confirmed until one of them is back',
    ...common,
    inject: (platform) => kill(platform, 2),
  },
  {
    name: 'rabbitmq-leader-paused',
    what: 'the leader node hangs (SIGSTOP)',
    ...common,
    async inject(platform) {
      const [leader] = await leaderFirst(platform);
      await leader!.control.pause();
      return () => leader!.control.resume();
    },
  },
];

async function kill(platform: ChaosPlatform, count: number) {
  const victims = (await leaderFirst(platform)).slice(0, count);
  for (const { control } of victims) await control.end('killed');
  return async () => {
    for (const { control } of victims) await control.start();
  };
}

async function leaderFirst({ cluster }: ChaosPlatform): Promise<readonly ClusterNode[]> {
  if (cluster === undefined) throw new Error('this run has no cluster');
  const leader = await cluster.leaderOf(queues.persist);
  return [leader, ...cluster.nodes.filter((node) => node !== leader)];
}
