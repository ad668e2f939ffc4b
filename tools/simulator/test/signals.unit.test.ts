import { describe, expect, it } from 'vitest';
import { type SignalMetrics, deviceSignals } from '../src/signals.ts';

function measure(seed: number, count: number): SignalMetrics[] {
  const signals = deviceSignals(seed);
  return Array.from({ length: count }, () => signals.next().value);
}

describe('device signals', () => {
  it('are the same for the same seed, and others for another', () => {
    expect(measure(7, 50)).toEqual(measure(7, 50));
    expect(measure(7, 50)).not.toEqual(measure(8, 50));
  });

  it('stay plausible for as long as a device may run', () => {
    for (const { temperature, humidity, pressure, voltage, rssi } of measure(3, 50_000)) {
      expect(temperature).toBeGreaterThan(0);
      expect(temperature).toBeLessThan(45);
      expect(humidity).toBeGreaterThanOrEqual(0);
      expect(humidity).toBeLessThanOrEqual(100);
      expect(pressure).toBeGreaterThan(950);
      expect(pressure).toBeLessThan(1_070);
      expect(voltage).toBeGreaterThan(3);
      expect(voltage).toBeLessThan(4.3);
      expect(rssi).toBeLessThan(-35);
    }
  });
});
