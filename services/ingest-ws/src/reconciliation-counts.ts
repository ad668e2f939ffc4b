import { type EdgeCounts, type EdgeReportEntry, minuteOf } from '@fleetwire/contracts/edge-report';

export interface ReconciliationBounds {
  /** Devices with entries of their own in one report; the readings of all others share one entry a minute. */
  readonly devicesMax: number;
  /** Minutes with entries of their own in one report; readings of further minutes are counted in the minute that was added last. */
  readonly minutesMax: number;
}

interface Minute {
  readonly minute: number;
  readonly others: EdgeCounts;
  readonly devices: Map<string, EdgeCounts>;
}

/** Outcomes of readings since the last edge report, by device and by the minute in which they were received. Bounded in memory. */
export class ReconciliationCounts {
  readonly #bounds: ReconciliationBounds;
  #minutes = new Map<number, Minute>();
  #devices = new Set<string>();

  constructor(bounds: ReconciliationBounds) {
    this.#bounds = bounds;
  }

  get isEmpty(): boolean {
    return this.#minutes.size === 0;
  }

  /** @param receivedAt epoch milliseconds */
  add(outcome: keyof EdgeCounts, deviceId: string, receivedAt: number, readingCount: number): void {
    const { devices, others } = this.#minuteOf(receivedAt);
    let counts = devices.get(deviceId);
    if (counts === undefined) {
      if (this.#devices.has(deviceId) || this.#devices.size < this.#bounds.devicesMax) {
        counts = none();
        devices.set(deviceId, counts);
        this.#devices.add(deviceId);
      } else {
        counts = others;
      }
    }
    counts[outcome] += readingCount;
  }

  /** Returns all counts and starts again from zero. */
  drain(): EdgeReportEntry[] {
    const entries = [...this.#minutes.values()].flatMap(({ minute, others, devices }): EdgeReportEntry[] => [
      ...[...devices].map(([deviceId, counts]) => ({ minute, deviceId, ...counts })),
      ...(isNone(others) ? [] : [{ minute, ...others }]),
    ]);
    this.#minutes = new Map();
    this.#devices = new Set();
    return entries;
  }

  #minuteOf(receivedAt: number): Minute {
    const minute = minuteOf(receivedAt);
    const known = this.#minutes.get(minute);
    if (known !== undefined) return known;
    if (this.#minutes.size >= this.#bounds.minutesMax) return [...this.#minutes.values()].at(-1)!;
    const opened = { minute, others: none(), devices: new Map<string, EdgeCounts>() };
    this.#minutes.set(minute, opened);
    return opened;
  }
}

function none(): EdgeCounts {
  return { accepted: 0, rejected: 0, nacked: 0, unconfirmed: 0 };
}

function isNone({ accepted, rejected, nacked, unconfirmed }: EdgeCounts): boolean {
  return accepted + rejected + nacked + unconfirmed === 0;
}
