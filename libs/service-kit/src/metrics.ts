import { collectDefaultMetrics, type Counter, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** A registry of its own for each service instance, holding the process metrics already. */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}

/**
 * The counter with a series of zero for each value of its label. One that began with its first event would hide that event from
 * `increase()` (Prometheus, "Writing client libraries": avoid missing metrics).
 */
export function fromZero<Label extends string>(
  counter: Counter<Label>,
  label: Label,
  values: readonly string[],
): Counter<Label> {
  for (const value of values) counter.inc({ [label]: value } as Record<Label, string>, 0);
  return counter;
}
