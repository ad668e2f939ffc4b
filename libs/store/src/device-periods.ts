import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import { int4Array, timestamptzArray } from './binary-arrays.ts';
import type { StreamKeys } from './keys.ts';
import { ensurePartitions, existingPeriods } from './partitions.ts';
import { type Period, periodAt } from './periods.ts';
import { TwoGenerationCache } from './two-generation-cache.ts';

const registeredCachedMax = 200_000;

/**
 * Finds or creates the partition of each reading, and registers in `device_periods` which devices have readings in which of them, so that
 * readers leave out all others. It commits before the batch that needs it: a device may be registered where it has no reading, never the
 * reverse.
 */
export class DevicePeriods {
  readonly #pool: pg.Pool;
  readonly #clock: () => number;
  /** That have a partition, by time. */
  #periods: readonly Period[] = [];
  /** The period with which a stream of this device was last registered: in the good case nothing else is looked at. */
  #last = new WeakMap<StreamKeys, Period>();
  #registered = new TwoGenerationCache<true>(registeredCachedMax);

  constructor(pool: pg.Pool, clock: () => number) {
    this.#pool = pool;
    this.#clock = clock;
  }

  get partitions(): number {
    return this.#periods.length;
  }

  /** A partition was dropped since the periods were read, and with it what was registered. */
  forget(): void {
    this.#periods = [];
    this.#last = new WeakMap();
    this.#registered = new TwoGenerationCache(registeredCachedMax);
  }

  /** The period of each reading, in order. */
  async of(readings: readonly IdentifiedReading[]): Promise<Period[]> {
    const found = this.#find(readings);
    if (!found.includes(undefined)) return found as Period[];
    this.#periods = await existingPeriods(this.#pool);
    const times = readings.filter(({ ts }) => periodAt(this.#periods, ts) === undefined).map(({ ts }) => ts);
    if (times.length > 0) this.#periods = await ensurePartitions(this.#pool, { times, now: this.#clock() });
    return this.#find(readings) as Period[];
  }

  #find(readings: readonly IdentifiedReading[]): (Period | undefined)[] {
    let last: Period | undefined;
    return readings.map(({ ts }) => {
      if (last === undefined || ts < last.from || ts >= last.to) last = periodAt(this.#periods, ts);
      return last;
    });
  }

  /** @param streams of the same readings as `periods` */
  async register(streams: readonly StreamKeys[], periods: readonly Period[]): Promise<void> {
    const missing = new Map<string, { deviceKey: number; period: Period }>();
    for (const [index, stream] of streams.entries()) {
      const period = periods[index] as Period;
      if (this.#last.get(stream) === period) continue;
      const name = registeredName(stream.deviceKey, period);
      if (this.#registered.get(name) === undefined) missing.set(name, { deviceKey: stream.deviceKey, period });
      else this.#last.set(stream, period);
    }
    if (missing.size === 0) return;
    // All writers must lock rows in the same order.
    const rows = [...missing.values()].sort((a, b) => a.deviceKey - b.deviceKey || a.period.from - b.period.from);
    await this.#pool.query(
      `insert into device_periods as known (device_key, from_ts, to_ts)
       select * from unnest($1::int4[], $2::timestamptz[], $3::timestamptz[])
       on conflict (device_key, from_ts) do update set to_ts = excluded.to_ts where known.to_ts < excluded.to_ts`,
      [
        int4Array(rows.map(({ deviceKey }) => deviceKey)),
        timestamptzArray(rows.map(({ period }) => period.from)),
        timestamptzArray(rows.map(({ period }) => period.to)),
      ],
    );
    for (const name of missing.keys()) this.#registered.set(name, true);
  }
}

function registeredName(deviceKey: number, { from }: Period): string {
  return `${deviceKey}/${from}`;
}
