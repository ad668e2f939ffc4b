import { Counter, fromZero, Gauge, type Registry } from '@fleetwire/runtime/metrics';
import { commandModes } from '@fleetwire/store/commands/command';
import { countPendingCommands } from '@fleetwire/store/commands/read';
import type { GuardedDatabase } from '../circuit.ts';
import { shared } from '../devices/registry-metrics.ts';

/** @returns counts what this service enters; what follows is counted by persistence-worker under the same name */
export function exposeCommands(registry: Registry, scans: GuardedDatabase): Counter<'state'> {
  const pending = shared(() => scans.run(countPendingCommands, {}).catch(() => []));
  registry.registerMetric(
    new Gauge({
      name: 'fleetwire_commands_pending',
      help: 'Commands that have not ended, also those that a job has not sent yet',
      labelNames: ['mode'],
      registers: [],
      async collect() {
        const counts = await pending();
        this.reset();
        for (const mode of counts.length > 0 ? commandModes : []) this.set({ mode }, 0);
        for (const { mode, count } of counts) this.set({ mode }, count);
      },
    }),
  );
  return fromZero(
    new Counter({
      name: 'fleetwire_commands_total',
      help: 'Commands that have entered the state by a call: queued, failed (unknown or offline device) or cancelled',
      labelNames: ['state'] as const,
      registers: [registry],
    }),
    'state',
    ['queued', 'failed', 'cancelled'],
  );
}
