import { type IdentifiedReading, isAhead } from '@fleetwire/contracts/reading';
import type { LatestMetrics } from './tables.ts';

/** The newest value of each metric of one device in a batch. */
export interface LatestChange {
  readonly deviceKey: number;
  /** Device time of the newest and of the oldest value here, epoch milliseconds; undefined when all readings were ahead of their arrival. */
  newest: number | undefined;
  oldest: number | undefined;
  /** The newest time of receipt, epoch milliseconds. */
  receivedAt: number;
  readonly metrics: LatestMetrics;
}

/**
 * Folds readings into one change per device. Later device time wins; of equal ones, the later arrival. A reading ahead of its
 * arrival (`latestAheadMaxMs`) counts as received, and never becomes the latest state: nothing says what time it really is from.
 * @param ordinals of the readings to fold, in any order
 * @returns sorted by device, because all writers must lock rows in the same order
 */
export function latestChanges(
  readings: readonly IdentifiedReading[],
  deviceKeys: ArrayLike<number>,
  ordinals: readonly number[],
): LatestChange[] {
  const changes = new Map<number, LatestChange>();
  for (const ordinal of [...ordinals].sort((a, b) => a - b)) {
    const reading = readings[ordinal] as IdentifiedReading;
    const deviceKey = deviceKeys[ordinal] as number;
    let change = changes.get(deviceKey);
    if (change === undefined) {
      change = {
        deviceKey,
        newest: undefined,
        oldest: undefined,
        receivedAt: reading.receivedAt,
        metrics: noMetrics(),
      };
      changes.set(deviceKey, change);
    }
    fold(change, reading);
  }
  return [...changes.values()].sort((a, b) => a.deviceKey - b.deviceKey);
}

/** Without a prototype, because a metric may be called `toString`. */
function noMetrics(): LatestMetrics {
  return Object.create(null) as LatestMetrics;
}

function fold(change: LatestChange, reading: IdentifiedReading): void {
  const { ts, receivedAt, metrics } = reading;
  if (receivedAt > change.receivedAt) change.receivedAt = receivedAt;
  if (isAhead(reading)) return;
  for (const name in metrics) {
    const known = change.metrics[name];
    if (known === undefined || known[0] <= ts) change.metrics[name] = [ts, metrics[name]];
  }
  if (change.newest === undefined || ts > change.newest) change.newest = ts;
  // `oldest` may be older than every value that is kept. Postgres then uses the slower merge although the fast one would do; it never
  // uses the fast one wrongly.
  if (change.oldest === undefined || ts < change.oldest) change.oldest = ts;
}
