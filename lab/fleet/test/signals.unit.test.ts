import { describe, expect, it } from 'vitest';
import { type SignalMetrics, deviceSignals } from '../signals.ts';

function measure(seed: number, count: number): SignalMetrics[] {
  const signals = deviceSignals(seed);
  return Array.from({ length: count }, () => signals.next().value);
}

const within = (value: number, low: number, high: number) => value >= low && value <= high;

describe('device signals', () => {
  it('are equal for equal seeds, and different for different ones', () => {
    expect(measure(7, 50)).toEqual(measure(7, 50));
    expect(measure(7, 50)).not.toEqual(measure(8, 50));
  });

  it('stay plausible over the lifetime of a device', () => {
    const implausible = measure(3, 50_000).filter(
      ({ temperature, humidity, pressure, voltage, rssi }) =>
        !within(temperature, 0, 45) ||
        !within(humidity, 0, 100) ||
        !within(pressure, 950, 1_070) ||
        !within(voltage, 3, 4.3) ||
        !within(rssi, -110, -35),
    );
    expect(implausible).toEqual([]);
  });
});
