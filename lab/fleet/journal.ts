import type { NackMessage } from '@fleetwire/contracts/device-protocol';
import { RangeSet } from './range-set.ts';

/** What a device knows about every reading of one epoch. It survives the connection, and costs as much as it has gaps. */
export class ClientJournal {
  readonly deviceId: string;
  readonly epoch: string;
  /** Sent at least once: only these can be stored. */
  readonly attempted = new RangeSet();
  /** The server vouches for these. */
  readonly acked = new RangeSet();
  /** Nacked for good: these are stored nowhere. */
  readonly refused = new RangeSet();
  /** Dropped by the device itself; stored or not, if they were attempted. */
  readonly givenUp = new RangeSet();
  /** Nacked as retryable at least once. */
  readonly postponed = new RangeSet();
  /** Readings in nacks and refusals, by code. */
  readonly nacksByCode = new Map<NackMessage['code'], number>();
  resentReadings = 0;
  framesSent = 0;

  constructor(deviceId: string, epoch: string) {
    this.deviceId = deviceId;
    this.epoch = epoch;
  }

  /** Sent, and no word on them yet. */
  get open(): RangeSet {
    return this.attempted.minus(this.acked).minus(this.refused).minus(this.givenUp);
  }

  countNack(code: NackMessage['code'], readings: number): void {
    this.nacksByCode.set(code, (this.nacksByCode.get(code) ?? 0) + readings);
  }
}
