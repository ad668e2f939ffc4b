import { randomUUID } from 'node:crypto';
import {
  type InstanceActivity,
  type InstanceBeat,
  type InstanceIdentity,
  instanceBeatType,
  parseInstanceBeat,
} from '@fleetwire/contracts/instance-beat';
import type { LiveBroker } from '@fleetwire/live/live-broker';
import { instanceKeptMs, type StoredInstance } from '@fleetwire/store/instances';

/** An instance by its beats, as this process has heard them. */
export interface HeardInstance extends InstanceIdentity, InstanceActivity {
  /** Epoch milliseconds. */
  readonly heardAt: number;
  /** From then on its silence means that it has stopped; epoch milliseconds. */
  readonly expiresAt: number;
  /** It has said that it ends. */
  readonly isFinished: boolean;
  /** What it handles in a second; undefined until two beats are far enough apart. */
  readonly perSecond: number | undefined;
}

interface Entry {
  instance: HeardInstance;
  /** What the rate is counted from. */
  from: { at: number; handled: number };
}

/** Beyond this those that were heard the longest ago are forgotten. */
const instancesMax = 1_000;
const rateWindowMs = 5_000;
/** Longer than a beat is valid: one that runs has been heard within it. */
const hearingMs = 15_000;

export interface InstancesOptions {
  /** Undefined without AMQP_URL: then this process knows itself only. */
  readonly broker: Pick<LiveBroker, 'receiveTransient'> | undefined;
  /** This process, and what it does. */
  readonly identity: InstanceIdentity;
  readonly activity: () => InstanceActivity;
  readonly now: () => number;
}

/** All instances of all services, from what they tell on the exchange of events. */
export class Instances {
  readonly #options: InstancesOptions;
  readonly #entries = new Map<string, Entry>();
  /** Since when the beats of this process have come back without a break. */
  #hearingSince = Infinity;

  constructor(options: InstancesOptions) {
    this.#options = options;
    options.broker?.receiveTransient(`${instanceBeatType}.${randomUUID()}`, instanceBeatType, (content) => {
      const parsed = parseInstanceBeat(content);
      if (parsed.ok) this.#hear(parsed.value);
    });
  }

  /** Beats arrive: those of this process come back. */
  get isConnected(): boolean {
    const own = this.#entries.get(this.#options.identity.instanceId);
    return own !== undefined && this.#options.now() < own.instance.expiresAt;
  }

  /** One that runs has been heard: the silence of the others is their own. */
  get hearsAll(): boolean {
    return this.isConnected && this.#options.now() - this.#hearingSince >= hearingMs;
  }

  /** Those of the last day; this process among them, also while nothing is heard. */
  heard(): HeardInstance[] {
    const { identity, activity, now } = this.#options;
    const heardSince = now() - instanceKeptMs;
    const others = [...this.#entries.values()]
      .map(({ instance }) => instance)
      .filter(({ instanceId, heardAt }) => instanceId !== identity.instanceId && heardAt >= heardSince);
    const perSecond = this.#entries.get(identity.instanceId)?.instance.perSecond;
    const times = { heardAt: now(), expiresAt: Infinity, isFinished: false };
    return [...others, { ...identity, ...activity(), ...times, perSecond }];
  }

  /** Of the edges. `isAcknowledging`: at least one is known, and readings are acknowledged by each. */
  readEdges(): { readonly sockets: number; readonly isAcknowledging: boolean } {
    const now = this.#options.now();
    const edges = this.heard().filter(
      ({ service, isFinished, expiresAt }) => service === 'ingest-ws' && !isFinished && now < expiresAt,
    );
    return {
      sockets: edges.reduce((sum, { sockets = 0 }) => sum + sockets, 0),
      isAcknowledging: edges.length > 0 && edges.every(({ isWorking }) => isWorking),
    };
  }

  #hear({ ttlMs, ...beat }: InstanceBeat): void {
    const now = this.#options.now();
    if (beat.instanceId === this.#options.identity.instanceId && !this.isConnected) this.#hearingSince = now;
    const known = this.#entries.get(beat.instanceId);
    const from = known?.from ?? { at: now, handled: beat.handled };
    const isMeasured = now - from.at >= rateWindowMs;
    const perSecond = isMeasured
      ? (Math.max(0, beat.handled - from.handled) * 1_000) / (now - from.at)
      : known?.instance.perSecond;
    this.#entries.delete(beat.instanceId);
    this.#entries.set(beat.instanceId, {
      instance: { ...beat, heardAt: now, expiresAt: now + ttlMs, isFinished: ttlMs === 0, perSecond },
      from: isMeasured ? { at: now, handled: beat.handled } : from,
    });
    const oldest = this.#entries.keys().next();
    if (this.#entries.size > instancesMax && oldest.done === false) this.#entries.delete(oldest.value);
  }
}

export const instanceStates = ['running', 'holding', 'stopped', 'finished', 'unknown'] as const;

export interface InstanceReport extends Readonly<InstanceIdentity> {
  readonly state: (typeof instanceStates)[number];
  readonly lastSeenAt: number;
  readonly isAcknowledged: boolean;
  readonly perSecond: number | undefined;
  readonly sockets: number | undefined;
  readonly transactions: { readonly busy: number; readonly max: number } | undefined;
}

export interface InstanceFacts {
  readonly heard: readonly HeardInstance[];
  /** What any query-api has written. */
  readonly stored: readonly StoredInstance[];
  /** Ranges of time whose findings an operator knows. */
  readonly acknowledged: readonly { readonly from: number; readonly to: number }[];
  /** An instance that runs has been heard. */
  readonly hearsAll: boolean;
  readonly now: number;
}

/** The last report of an edge, which an acknowledgement covers, may be so much older than its last beat. */
const reportIntervalMaxMs = 60_000;

/**
 * Every instance that runs, and those that have ended without a successor of the same name, by service and name. One of which nothing was
 * heard is `unknown` while the silence may be the broker's.
 */
export function reportInstances(facts: InstanceFacts): InstanceReport[] {
  const { heard, stored, acknowledged, hearsAll, now } = facts;
  const known = new Map<string, InstanceReport>();
  const isAcknowledged = (at: number) =>
    acknowledged.some(({ from, to }) => from <= at && at < to + reportIntervalMaxMs);
  const ended = (isFinished: boolean, lastSeenAt: number) => ({
    state: isFinished ? ('finished' as const) : hearsAll ? ('stopped' as const) : ('unknown' as const),
    lastSeenAt,
    isAcknowledged: !isFinished && isAcknowledged(lastSeenAt),
    perSecond: undefined,
    sockets: undefined,
    transactions: undefined,
  });
  for (const one of stored) known.set(one.instanceId, { ...identityIn(one), ...ended(one.isFinished, one.seenAt) });
  for (const one of heard) {
    const { heardAt, expiresAt, isFinished, isWorking, perSecond, sockets, transactions } = one;
    const state = isWorking ? ('running' as const) : ('holding' as const);
    const activity = { state, lastSeenAt: heardAt, isAcknowledged: false, perSecond, sockets, transactions };
    const runs = !isFinished && now < expiresAt;
    known.set(one.instanceId, { ...identityIn(one), ...(runs ? activity : ended(isFinished, heardAt)) });
  }
  const all = [...known.values()];
  const hasEnded = ({ state }: InstanceReport) => state !== 'running' && state !== 'holding';
  return all
    .filter(
      (one) =>
        !hasEnded(one) ||
        !all.some(
          (other) => other.service === one.service && other.name === one.name && other.startedAt > one.lastSeenAt,
        ),
    )
    .toSorted(
      (a, b) =>
        compare(a.service, b.service) ||
        Number(hasEnded(a)) - Number(hasEnded(b)) ||
        compare(a.name, b.name) ||
        a.startedAt - b.startedAt,
    );
}

function identityIn({ service, instanceId, name, version, startedAt }: InstanceIdentity): InstanceIdentity {
  return { service, instanceId, name, version, startedAt };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
