import {
  type Interest,
  type LiveMessage,
  type LiveRun,
  type Recipients,
  liveTypes,
} from '@fleetwire/contracts/live-message';
import { matchesGlob } from './glob.ts';

interface Watching {
  readonly interest: Interest;
  readonly devices: ReadonlySet<string>;
  prev: number;
  expiresAt: number;
}

const cachedDevicesMax = 100_000;

/**
 * What the watching instances want of one edge, and up to which envelope each was told everything. No I/O, no timers. Numbers are passed in
 * ascending order: `number` is always the last envelope that was passed to `publish`, or skipped.
 */
export class EdgeInterest {
  readonly #edge: string;
  readonly #watching = new Map<string, Watching>();
  /** The watching instances of a device, as sorted ids joined by a space; empty for none. */
  readonly #matches = new Map<string, string>();

  constructor(edge: string) {
    this.#edge = edge;
  }

  get instances(): number {
    return this.#watching.size;
  }

  get isWatched(): boolean {
    return this.#watching.size > 0;
  }

  /** The revision of an instance's interest that is applied. */
  revisionOf(instanceId: string): number | undefined {
    return this.#watching.get(instanceId)?.interest.revision;
  }

  /** @returns the answer to a change; undefined when the interest was known, and is only refreshed */
  apply(interest: Interest, number: number, now: number): LiveMessage | undefined {
    const { instanceId, revision, ttlMs } = interest;
    const known = this.#watching.get(instanceId);
    if (known !== undefined && revision <= known.interest.revision) {
      if (revision === known.interest.revision) known.expiresAt = now + ttlMs;
      return undefined;
    }
    this.#matches.clear();
    if (!interest.all && interest.devices.length === 0 && interest.patterns.length === 0) {
      this.#watching.delete(instanceId);
      return undefined;
    }
    const prev = number;
    this.#watching.set(instanceId, {
      interest,
      devices: new Set(interest.devices),
      prev,
      expiresAt: now + ttlMs,
    });
    return { type: liveTypes.position, edge: this.#edge, number, to: { [instanceId]: { prev, revision } } };
  }

  /** @returns the instances whose interest was forgotten */
  expire(now: number): string[] {
    const expired = [...this.#watching].filter(([, { expiresAt }]) => expiresAt <= now).map(([id]) => id);
    for (const id of expired) this.#watching.delete(id);
    if (expired.length > 0) this.#matches.clear();
    return expired;
  }

  /** The live messages of an envelope: one for each set of instances that watch the same of its runs. */
  publish(number: number, runs: Iterable<LiveRun>): LiveMessage[] {
    const groups = new Map<string, LiveRun[]>();
    for (const run of runs) {
      const instances = this.#instancesOf(run.deviceId);
      if (instances === '') continue;
      const group = groups.get(instances);
      if (group === undefined) groups.set(instances, [run]);
      else group.push(run);
    }
    return groups.size === 0 ? [] : this.#messagesOf(number, groups);
  }

  /** Whether the envelope matches is not known: all instances find it missing with their next message. */
  skipAll(number: number): void {
    for (const watching of this.#watching.values()) watching.prev = number;
  }

  /** Tells all instances that what matches after `number` is published to them: one message. */
  position(number: number): LiveMessage | undefined {
    if (!this.isWatched) return undefined;
    return { type: liveTypes.position, edge: this.#edge, number, to: this.#recipients(this.#watching.keys()) };
  }

  #instancesOf(deviceId: string): string {
    let instances = this.#matches.get(deviceId);
    if (instances === undefined) {
      const matching = [...this.#watching].filter(([, watching]) => isWatching(watching, deviceId)).map(([id]) => id);
      instances = matching.toSorted().join(' ');
      if (this.#matches.size >= cachedDevicesMax) this.#matches.clear();
      this.#matches.set(deviceId, instances);
    }
    return instances;
  }

  /** An instance gets one message for an envelope: groups that share an instance are made disjoint sets of instances. */
  #messagesOf(number: number, groups: ReadonlyMap<string, LiveRun[]>): LiveMessage[] {
    const runsOf = new Map<string, { key: string; runs: LiveRun[] }>();
    for (const [instances, runs] of groups) {
      for (const id of instances.split(' ')) {
        const known = runsOf.get(id);
        if (known === undefined) runsOf.set(id, { key: instances, runs });
        else runsOf.set(id, { key: `${known.key},${instances}`, runs: [...known.runs, ...runs] });
      }
    }
    const messages: LiveMessage[] = [];
    for (const sharing of Map.groupBy(runsOf, ([, { key }]) => key).values()) {
      const ids = sharing.map(([id]) => id);
      const to = this.#recipients(ids);
      for (const id of ids) this.#watching.get(id)!.prev = number;
      messages.push({ type: liveTypes.readings, edge: this.#edge, number, to, runs: sharing[0]![1].runs });
    }
    return messages;
  }

  #recipients(ids: Iterable<string>): Recipients {
    const to: Recipients = {};
    for (const id of ids) {
      const { prev, interest } = this.#watching.get(id)!;
      to[id] = { prev, revision: interest.revision };
    }
    return to;
  }
}

function isWatching({ interest, devices }: Watching, deviceId: string): boolean {
  return interest.all || devices.has(deviceId) || interest.patterns.some((pattern) => matchesGlob(pattern, deviceId));
}
