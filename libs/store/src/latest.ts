import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { LatestMetrics } from './tables.ts';

/** The newest of each metric that a batch has of one device. */
export interface LatestChange {
  readonly deviceKey: number;
  /** Device time of the newest and of the oldest value here, and the newest time of receipt; epoch milliseconds. */
  newest: number;
  oldest: number;
  receivedAt: number;
  readonly metrics: LatestMetrics;
}

/**
 * Folds readings into one change per device. Later device time wins; of equal ones, the later arrival.
 * @param ordinals of the readings to fold, in any order
 * @returns sorted by device, as all writers lock them in this order
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
        newest: reading.ts,
        oldest: reading.ts,
        receivedAt: reading.receivedAt,
        metrics: noMetrics(),
      };
      changes.set(deviceKey, change);
    }
    fold(change, reading);
  }
  return [...changes.values()].sort((a, b) => a.deviceKey - b.deviceKey);
}

/** Without a prototype: `toString` is a fine name for a metric. */
function noMetrics(): LatestMetrics {
  return Object.create(null) as LatestMetrics;
}

function fold(change: LatestChange, { ts, receivedAt, metrics }: IdentifiedReading): void {
  for (const name in metrics) {
    const known = change.metrics[name];
    if (known === undefined || known[0] <= ts) change.metrics[name] = [ts, metrics[name]];
  }
  if (ts > change.newest) change.newest = ts;
  // Possibly older than any value kept: then the merge in Postgres is careful without need, never careless.
  if (ts < change.oldest) change.oldest = ts;
  if (receivedAt > change.receivedAt) change.receivedAt = receivedAt;
}
