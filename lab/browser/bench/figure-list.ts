import type { Figure, Goal, Sample } from '../../bench/figure.ts';
import type { UsageMeter } from '../../bench/usage-meter.ts';

/** One value of one run. */
export interface Value {
  readonly kind: string;
  readonly name: string;
  readonly unit: string;
  readonly goal?: Goal;
  readonly value: number;
}

/** Figures in the order in which they were measured first, each with a sample of each run. */
export class FigureList {
  readonly #figures = new Map<string, Figure & { readonly samples: Sample[] }>();
  readonly #startMeter: () => Promise<UsageMeter>;
  readonly #log: (line: string) => void;

  constructor(startMeter: () => Promise<UsageMeter>, log: (line: string) => void) {
    this.#startMeter = startMeter;
    this.#log = log;
  }

  /** Measures, and how much of the CPU other programs took in that time. */
  async measure(values: () => Promise<readonly Value[]>): Promise<void> {
    const meter = await this.#startMeter();
    const measured = await values();
    const { othersCpuShare } = await meter.stop();
    for (const { kind, name, unit, goal, value } of measured) {
      const figure = this.#figures.get(kind) ?? {
        id: { kind },
        name,
        unit,
        ...(goal !== undefined && { goal }),
        samples: [],
      };
      figure.samples.push({ value, othersCpuShare });
      this.#figures.set(kind, figure);
      this.#log(`  ${name}: ${value.toFixed(2)} ${unit} (others ${Math.round(othersCpuShare * 100)} %)`);
    }
  }

  all(): Figure[] {
    return [...this.#figures.values()];
  }
}
