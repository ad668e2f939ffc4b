import { Gauge, type Registry } from '@fleetwire/runtime/metrics';
import { countPresence } from '@fleetwire/store/presence/read-presence';
import { countDevices } from '@fleetwire/store/registry/devices';
import type { GuardedDatabase } from '../circuit.ts';

const sharedMs = 15_000;

/** Counted at a scrape, at most every 15 s; without a value while the database is unavailable. */
export function exposeRegistry(registry: Registry, scans: GuardedDatabase): void {
  const registered = shared(() => scans.run(countDevices, {}).catch(() => []));
  registry.registerMetric(
    new Gauge({
      name: 'fleetwire_registry_devices',
      help: 'Devices by status, and by whether they are registered',
      labelNames: ['status', 'registered'],
      registers: [],
      async collect() {
        const counts = await registered();
        this.reset();
        for (const { status, registered: isRegistered, count } of counts)
          this.set({ status, registered: String(isRegistered) }, count);
      },
    }),
  );
  const present = shared(() => scans.run(countPresence, {}).catch(() => []));
  registry.registerMetric(
    new Gauge({
      name: 'fleetwire_devices',
      help: 'Devices by presence: online, stale or offline',
      labelNames: ['status'],
      registers: [],
      async collect() {
        const counts = await present();
        this.reset();
        for (const { status, count } of counts) this.set({ status }, count);
      },
    }),
  );
}

/** The same count for scrapes within a few seconds. */
export function shared<T>(count: () => Promise<T>): () => Promise<T> {
  let counted: { readonly until: number; readonly counts: Promise<T> } | undefined;
  return () => {
    const now = Date.now();
    if (counted === undefined || counted.until <= now) counted = { until: now + sharedMs, counts: count() };
    return counted.counts;
  };
}
