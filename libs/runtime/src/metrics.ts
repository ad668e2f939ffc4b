import { collectDefaultMetrics, Counter, Registry } from 'prom-client';

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

/** A counter for what happens many thousand times a second: counting is an addition, and its series are made when somebody asks. */
export class Tally<Value extends string> {
  readonly #counts: Map<Value, number>;

  constructor(options: { name: string; help: string; label: string; values: readonly Value[]; registers: Registry[] }) {
    const { name, help, label, values, registers } = options;
    const counts = new Map(values.map((value) => [value, 0]));
    this.#counts = counts;
    // Its registry holds it.
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

  add(value: Value, count: number): void {
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + count);
  }
}
