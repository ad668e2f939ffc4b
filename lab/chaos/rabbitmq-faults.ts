import { exchanges, queues, routingKeys } from '@fleetwire/broker/topology';
import type { BrokerControl } from '@fleetwire/platform/servers/running-server';
import { eventually } from '@fleetwire/platform/testing/eventually';
import type { Fault } from './fault.ts';

const component = 'rabbitmq';
const bindingPath = `/bindings/%2F/e/${exchanges.telemetry}/q/${queues.persist}/${routingKeys.persist}`;
const limitPath = '/policies/%2F/chaos-limit';
const restoredTimeoutMs = 30_000;
const restoredIntervalMs = 100;

/** With a cluster, another node would take over. */
const singleNode = { component, on: ['native', 'containers'] } as const;

export const rabbitmqFaults: readonly Fault[] = [
  { name: 'rabbitmq-stopped', what: 'orderly stop; starts again on the same data', ...ended('orderly') },
  { name: 'rabbitmq-killed', what: 'SIGKILL; starts again on the same data', ...ended('killed') },
  {
    name: 'rabbitmq-paused',
    what: 'hangs (SIGSTOP): connections stay open and silent',
    ...singleNode,
    holdMinMs: 1_500,
    holdMaxMs: 8_000,
    async inject({ rabbitmq }) {
      await rabbitmq.pause();
      return () => rabbitmq.resume();
    },
  },
  {
    name: 'rabbitmq-memory-alarm',
    what: 'memory alarm: publishers are blocked',
    ...alarm(['set_vm_memory_high_watermark', '0.000001'], ['set_vm_memory_high_watermark', '0.4']),
  },
  {
    name: 'rabbitmq-disk-alarm',
    what: 'disk alarm: publishers are blocked',
    ...alarm(['set_disk_free_limit', '1000000GB'], ['set_disk_free_limit', '50MB']),
  },
  {
    name: 'rabbitmq-queue-full',
    what: 'the work queue reaches its length limit while the workers hang: publishes are nacked',
    component,
    holdMinMs: 2_000,
    holdMaxMs: 5_000,
    async inject({ manage, services }) {
      const workers = services['persistence-worker'];
      await manage('PUT', limitPath, {
        pattern: `^${queues.persist.replaceAll('.', '\\.')}$`,
        definition: { 'max-length': 1 },
        'apply-to': 'queues',
      });
      for (const worker of workers) worker.pause();
      return async () => {
        for (const worker of workers) worker.resume();
        await manage('DELETE', limitPath);
      };
    },
  },
  {
    name: 'rabbitmq-binding-removed',
    what: 'the binding of the work queue is deleted: publishes are returned until the platform declares it again',
    component,
    holdMinMs: 500,
    holdMaxMs: 2_000,
    async inject({ manage }) {
      await manage('DELETE', bindingPath);
      return () =>
        eventually(async () => void (await manage('GET', bindingPath)), {
          timeoutMs: restoredTimeoutMs,
          intervalMs: restoredIntervalMs,
        });
    },
  },
];

function ended(how: 'orderly' | 'killed') {
  return {
    ...singleNode,
    holdMinMs: 500,
    holdMaxMs: 5_000,
    async inject({ rabbitmq }: { rabbitmq: BrokerControl }) {
      await rabbitmq.end(how);
      return () => rabbitmq.start();
    },
  } as const;
}

function alarm(raise: readonly string[], clear: readonly string[]) {
  return {
    ...singleNode,
    holdMinMs: 2_000,
    holdMaxMs: 8_000,
    async inject({ rabbitmq }: { rabbitmq: BrokerControl }) {
      await rabbitmq.ctl(raise);
      return async () => void (await rabbitmq.ctl(clear));
    },
  } as const;
}
