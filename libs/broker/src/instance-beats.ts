import {
  type InstanceActivity,
  type InstanceBeat,
  type InstanceIdentity,
  instanceBeatType,
} from '@fleetwire/contracts/instance-beat';

export interface InstanceBeatsOptions {
  readonly identity: InstanceIdentity;
  readonly activity: () => InstanceActivity;
  /** Publishes it on the exchange of events, transient. @returns false when it was skipped; it is repeated then */
  readonly tell: (beat: InstanceBeat) => boolean;
}

const changeCheckMs = 250;
const beatMs = 3_000;
const ttlMs = 12_000;

/** Tells query-api that this instance runs, and what it does: for `GET /instances`, and for the counts of `GET /api/status`. */
export function startInstanceBeats({ identity, activity, tell }: InstanceBeatsOptions): { stop(): void } {
  let told: InstanceActivity | undefined;
  let toldAt = 0;
  const beat = (): void => {
    const now = performance.now();
    const present = activity();
    const isKnown = told?.sockets === present.sockets && told?.isWorking === present.isWorking;
    if (isKnown && now - toldAt < beatMs) return;
    if (!tell({ type: instanceBeatType, ...identity, ...present, ttlMs })) return;
    told = present;
    toldAt = now;
  };
  const timer = setInterval(beat, changeCheckMs);
  return {
    stop: () => {
      clearInterval(timer);
      // An edge that is gone does not keep the others from acknowledging.
      tell({ type: instanceBeatType, ...identity, handled: activity().handled, isWorking: true, ttlMs: 0 });
    },
  };
}
