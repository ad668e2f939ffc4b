import type { IdentifiedReading } from '@fleetwire/contracts/reading';

export const monday = Date.UTC(2026, 10, 16);
export const second = 1_000;
export const day = 24 * 60 * 60 * second;

export function reading(of: Partial<IdentifiedReading> = {}): IdentifiedReading {
  const seq = of.seq ?? 0;
  const ts = of.ts ?? monday + seq * second;
  return {
    deviceId: 'device-1',
    epoch: 'boot-1',
    seq,
    ts,
    receivedAt: ts + 50,
    metrics: { temperature: 20 + seq },
    ...of,
  };
}

/** Readings `from <= seq < to` of one device. */
export function run(from: number, to: number, of: Partial<IdentifiedReading> = {}): IdentifiedReading[] {
  return Array.from({ length: to - from }, (_, index) => reading({ ...of, seq: from + index }));
}
