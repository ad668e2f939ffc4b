import { type Random, gaussian, seededRandom } from './random.ts';

export interface SignalMetrics extends Readonly<Record<string, number>> {
  /** °C */
  readonly temperature: number;
  /** % relative */
  readonly humidity: number;
  /** hPa */
  readonly pressure: number;
  /** V, of a battery that sags under load and drains */
  readonly voltage: number;
  /** dBm */
  readonly rssi: number;
}

/** Endless plausible telemetry of one device; the same seed gives the same values. */
export function* deviceSignals(seed: number): Generator<SignalMetrics, never> {
  const random = seededRandom(seed);
  let temperature = between(random, 14, 28);
  let pressure = between(random, 995, 1025);
  let charge = between(random, 0.4, 1);
  const home = temperature;
  const distance = between(random, -85, -50);
  for (;;) {
    // Mean-reverting random walks: they stay within a plausible range for ever.
    temperature += 0.1 * gaussian(random) + 0.01 * (home - temperature);
    pressure += 0.05 * gaussian(random) + 0.001 * (1013 - pressure);
    charge = charge < 0.05 ? 1 : charge - 0.00002;
    const isTransmitting = random() < 0.1;
    yield {
      temperature: rounded(temperature, 2),
      humidity: rounded(Math.min(100, Math.max(0, 55 - 1.5 * (temperature - home) + gaussian(random))), 1),
      pressure: rounded(pressure, 1),
      voltage: rounded(3.3 + 0.9 * charge - (isTransmitting ? 0.15 : 0) + 0.005 * gaussian(random), 3),
      rssi: Math.round(distance + 2 * gaussian(random)),
    };
  }
}

function between(random: Random, low: number, high: number): number {
  return low + random() * (high - low);
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
