import { queues } from '@fleetwire/broker/topology';
import type { ClusterNode } from '@fleetwire/platform/servers/rabbitmq-cluster';
import type { Fault } from './fault.ts';
import type { Platform } from './platform.ts';

const lane = 'rabbitmq';
const common = { lane, on: ['cluster'], holdMinMs: 3_000, holdMaxMs: 10_000 } as const;

/** What only several nodes can show. */
export const clusterFaults: readonly Fault[] = [
  {
    name: 'rabbitmq-leader-killed',
    what: "SIGKILL of the node that leads the work queue's replicas; another one takes over",
    ...common,
    inject: (platform) => kill(platform, 1),
  },
  {
    name: 'rabbitmq-majority-killed',
    what: 'SIGKILL of the leader and of a follower: no confirm can come until one is back',
    ...common,
    inject: (platform) => kill(platform, 2),
  },
  {
    name: 'rabbitmq-leader-paused',
    what: 'the leading node hangs',
    ...common,
    async inject(platform) {
      const [leader] = await leaderFirst(platform);
      await leader!.control.pause();
      return () => leader!.control.resume();
    },
  },
];

async function kill(platform: Platform, count: number) {
  const victims = (await leaderFirst(platform)).slice(0, count);
  for (const { control } of victims) await control.end('killed');
  return async () => {
    for (const { control } of victims) await control.start();
  };
}

async function leaderFirst({ cluster }: Platform): Promise<readonly ClusterNode[]> {
  if (cluster === undefined) throw new Error('this run has no cluster');
  const leader = await cluster.leaderOf(queues.persist);
  return [leader, ...cluster.nodes.filter((node) => node !== leader)];
}
