import { type EdgeCounts, type EdgeReportEntry, minuteOf } from '@fleetwire/contracts/edge-report';

export interface AccountsBounds {
  /** Devices told apart between two reports; the readings of all others share one entry a minute. */
  readonly devicesMax: number;
  /** Minutes told apart between two reports; what is counted beyond goes to the newest of them. */
  readonly minutesMax: number;
}

interface Minute {
  readonly minute: number;
  readonly others: EdgeCounts;
  readonly devices: Map<string, EdgeCounts>;
}

/** What became of readings since the last report, by the minute in which they arrived and by device. Its memory is bounded. */
export class Accounts {
  readonly #bounds: AccountsBounds;
  #minutes = new Map<number, Minute>();
  #devices = new Set<string>();

  constructor(bounds: AccountsBounds) {
    this.#bounds = bounds;
  }

  /** @param receivedAt epoch milliseconds */
  count(result: keyof EdgeCounts, deviceId: string, receivedAt: number, readings: number): void {
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
    counts[result] += readings;
  }

  /** Everything counted, which is then forgotten here. */
  take(): EdgeReportEntry[] {
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
