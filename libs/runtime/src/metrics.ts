import { collectDefaultMetrics, Counter, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** A separate registry for each service instance, with the metrics of the process. */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}

/**
 * Adds a series at zero for each value of the counter's label. `increase()` does not see the first event of a series that begins with
 * it (Prometheus, "Instrumentation": avoid missing metrics).
 */
export function fromZero<Label extends string>(
  counter: Counter<Label>,
  label: Label,
  values: readonly string[],
): Counter<Label> {
  for (const value of values) counter.inc({ [label]: value } as Record<Label, string>, 0);
  return counter;
}

/** A counter for events at a high rate: counting is one addition, and the series are computed when metrics are scraped. */
export class Tally<Value extends string> {
  readonly #counts: Map<Value, number>;

  constructor(options: { name: string; help: string; label: string; values: readonly Value[]; registers: Registry[] }) {
    const { name, help, label, values, registers } = options;
    const counts = new Map(values.map((value) => [value, 0]));
    this.#counts = counts;
    // The registry keeps a reference to it.
    void new Counter({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset();
        for (const [value, count] of counts) this.inc({ [label]: value }, count);
      },
    });
  }

  get(value: Value): number {
    return this.#counts.get(value) ?? 0;
  }

  add(value: Value, count: number): void {
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + count);
  }
}
