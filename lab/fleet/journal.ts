import type { NackMessage } from '@fleetwire/contracts/device-protocol';
import { RangeSet } from '@fleetwire/contracts/range-set';

/** The client journal: what a device knows about every reading of one epoch. It outlives connections; its memory grows with the gaps in its ranges. */
export class ClientJournal {
  readonly deviceId: string;
  readonly epoch: string;
  /** Sent at least once: only these can be stored by the server. */
  readonly attempted = new RangeSet();
  /** Acknowledged by the server. */
  readonly acked = new RangeSet();
  /** Finally nacked: the server does not store these. */
  readonly refused = new RangeSet();
  /** Dropped by the device itself. If they were attempted, the server may have stored them. */
  readonly givenUp = new RangeSet();
  /** Nacked as retryable, at least once. */
  readonly postponed = new RangeSet();
  /** Readings in nacks and refusals, by code. */
  readonly nacksByCode = new Map<NackMessage['code'], number>();
  resentReadings = 0;
  framesSent = 0;

  constructor(deviceId: string, epoch: string) {
    this.deviceId = deviceId;
    this.epoch = epoch;
  }

  /** Sent and not answered yet. */
  get open(): RangeSet {
    return this.attempted.minus(this.acked).minus(this.refused).minus(this.givenUp);
  }

  countNack(code: NackMessage['code'], readings: number): void {
    this.nacksByCode.set(code, (this.nacksByCode.get(code) ?? 0) + readings);
  }
}
