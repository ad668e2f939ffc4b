import { setTimeout as sleep } from 'node:timers/promises';
import {
  type PlainGreetingMembers,
  plainSnapshotDevicesMax,
  plainTime,
  plainUpdate,
} from '@fleetwire/contracts/plain-dialect';
import { Broadcast } from '@fleetwire/live/broadcast';
import type { EdgeFeed } from '@fleetwire/live/edge-feed';
import type { LiveHub } from '@fleetwire/live/live-hub';
import { membersOf } from '@fleetwire/live/outlet';
import type { SelectedReading } from '@fleetwire/live/selection';
import type { Caller } from './authentication.ts';
import type { PlainControls } from './plain-controls.ts';
import type { PlainSnapshot, PlainSnapshots } from './plain-snapshots.ts';

/** What all sockets of the plain dialect share. */
export interface PlainContext {
  readonly hub: LiveHub;
  /** Of this edge. */
  readonly feed: EdgeFeed;
  readonly snapshots: PlainSnapshots;
  readonly controls: PlainControls;
}

/** How long an upgrade waits for the snapshot, and until what this edge receives is broadcast to it. */
const prepareMsMax = 1_000;

/** What one socket of the plain dialect is greeted with, prepared before it is open. */
export class PlainGreeting {
  readonly broadcast: Broadcast;
  readonly #context: PlainContext;
  readonly #caller: Caller;
  #snapshot: PlainSnapshot | undefined;
  /** Devices of which a reading was broadcast while the snapshot could not be read: it has older values of them. */
  readonly #broadcastDevices = new Set<string>();

  constructor(context: PlainContext, caller: Caller) {
    this.#context = context;
    this.#caller = caller;
    this.broadcast = new Broadcast(context.hub, {
      claims: caller.claims,
      textsOf: (readings) => this.#textsOf(readings),
    });
  }

  /** The snapshot is read after what this edge receives is broadcast, so that no reading is missed between the two. */
  async prepare(): Promise<void> {
    const { hub, feed, snapshots } = this.#context;
    const deadline = AbortSignal.timeout(prepareMsMax);
    await feed.whenApplied(hub.instanceId, this.broadcast.subscription.revision, deadline);
    this.#snapshot = await Promise.race([
      snapshots.read(this.#caller.token),
      sleep(prepareMsMax, undefined, { ref: false }),
    ]);
  }

  get isPending(): boolean {
    return this.#snapshot === undefined;
  }

  /** @returns whether the snapshot that was pending is there now */
  async readAgain(token: string | undefined): Promise<boolean> {
    const snapshot = await this.#context.snapshots.read(token);
    if (!this.isPending) return true;
    if (snapshot === undefined) return false;
    const entries = Object.entries(snapshot.data).filter(([deviceId]) => !this.#broadcastDevices.has(deviceId));
    this.#snapshot = { ...snapshot, data: Object.fromEntries(entries) };
    this.#broadcastDevices.clear();
    return true;
  }

  members(): PlainGreetingMembers {
    return {
      message: 'connected',
      timestamp_utc: plainTime(Date.now()),
      data_snapshot: this.#snapshot?.data ?? {},
      ...(this.#snapshot === undefined && { data_snapshot_pending: true }),
      ...(this.#snapshot?.isTruncated === true && { data_snapshot_truncated: true }),
    };
  }

  #noteBroadcast(deviceId: string): void {
    this.#broadcastDevices.add(deviceId);
    if (this.#broadcastDevices.size < plainSnapshotDevicesMax) return;
    // The newest devices are known to the client.
    this.#broadcastDevices.clear();
    this.#snapshot = { data: {}, isTruncated: true };
  }

  *#textsOf(readings: readonly SelectedReading[]): Iterable<string> {
    for (const reading of readings) {
      if (this.isPending) this.#noteBroadcast(reading.deviceId);
      const { type: _type, ...update } = plainUpdate(reading, reading.source ?? 'websocket');
      yield membersOf(update);
    }
  }
}
