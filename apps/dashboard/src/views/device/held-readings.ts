import type { MetricValue } from '../../live-messages.ts';
import type { TimedReading } from './buckets.ts';

/** The newest value of a metric, with its device time. */
export interface LatestValue {
  readonly value: MetricValue;
  readonly at: number;
}

export interface LiveReadings {
  /** Readings in the order of arrival, at most `heldMax`: all since `from` by device time, and the newest ones. */
  readings: TimedReading[];
  /** Of these readings. */
  identities: Set<string>;
  /** From when on the readings are complete. */
  from: number;
  readonly latest: Map<string, LatestValue>;
  /** The greatest number that was seen of each epoch. */
  readonly lastSeq: Map<string, number>;
  /** The newest command that changed. */
  commandChanges: number;
  problem: string | undefined;
}

const heldMax = 20_000;
/** Of the newest readings a list is shown, and the clock of the device is read: they stay when history has them. */
const newestKept = 1_000;

/** Takes a reading, once however often it comes. */
export function take(live: LiveReadings, reading: TimedReading): void {
  const key = identity(reading);
  if (live.identities.has(key)) return;
  live.identities.add(key);
  live.readings.push(reading);
  if (live.readings.length > heldMax) {
    const times = live.readings.map(({ at }) => at).toSorted((a, b) => a - b);
    dropBefore(live, times[heldMax / 2]! + 1);
  }
  live.lastSeq.set(reading.epoch, Math.max(live.lastSeq.get(reading.epoch) ?? 0, reading.seq));
  for (const [name, value] of Object.entries(reading.metrics)) {
    const held = live.latest.get(name);
    if (held === undefined || held.at <= reading.at) live.latest.set(name, { value, at: reading.at });
  }
}

/** Drops readings that history has by now, but the newest. */
export function dropBefore(live: LiveReadings, time: number): void {
  const firstKept = live.readings.length - newestKept;
  live.readings = live.readings.filter(({ at }, index) => at >= time || index >= firstKept);
  live.identities = new Set(live.readings.map(identity));
  live.from = Math.max(live.from, time);
}

function identity({ epoch, seq }: TimedReading): string {
  return `${epoch} ${seq}`;
}
