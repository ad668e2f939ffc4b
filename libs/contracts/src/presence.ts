import type { EndedSessionFact, PresenceFact, SessionEndReason, SessionFact } from './presence-facts.ts';

export const presenceStatuses = ['online', 'stale', 'offline'] as const;
export type PresenceStatus = (typeof presenceStatuses)[number];
export type ConnectionEndReason = SessionEndReason | 'edge-lost';
/** `silent` and `http` follow from the readings of a device; the reducer knows its connections only. */
type PresenceReason = ConnectionEndReason | 'connected' | 'reconnecting' | 'silent' | 'http';

/** An edge without a sign of life for this long has lost its lease. */
export const edgeLeaseMs = 12_000;
/** How long a device may take to come back from an instance that was stopped in order, and is online until then. */
export const reconnectGraceMs = 10_000;
/** A fact about a session that ended earlier than this may open it again; within it, `ended` wins in any order of arrival. */
export const endedRememberedMs = 60 * 60 * 1_000;

/** One connection of a device. Times are epoch milliseconds. */
export interface Connection extends SessionFact {
  readonly edge: string;
  readonly generation: number;
  readonly end: { readonly reason: ConnectionEndReason; readonly at: number } | undefined;
}

export interface DevicePresence {
  readonly deviceId: string;
  readonly status: PresenceStatus;
  readonly reason: PresenceReason;
  readonly since: number;
  /** Open sessions. */
  readonly sessions: number;
}

/** Both times of one moment: `monotonic` decides, `wall` is shown. */
export interface Moment {
  readonly monotonic: number;
  readonly wall: number;
}

interface Edge {
  /** All open sessions of it have this generation or a later one. */
  announced: number;
  /** The latest generation heard of. */
  latest: number;
  /** Sessions up to this generation are lost, and stay so: the edge announces what is open in a new one. */
  lost: number;
  leaseUntil: number;
  readonly sessions: Set<Session>;
}

interface Session extends Connection {
  generation: number;
  end: { readonly reason: ConnectionEndReason; readonly at: number } | undefined;
}

/**
 * Presence from the facts of edges, without I/O and without a clock. The state is a set of sessions: a session belongs to the latest
 * generation in which it was announced, and an end is final, so that facts give the same state in any order, and again. A device is online
 * while it has a session that has not ended and whose edge has a lease.
 */
export class Presence {
  readonly #sessions = new Map<string, Session>();
  readonly #ofDevice = new Map<string, Set<Session>>();
  readonly #edges = new Map<string, Edge>();
  /** Ended sessions, and when to forget them; the first one first. */
  readonly #ended = new Map<Session, number>();
  /** Until when devices may reconnect, the first one first. */
  readonly #reconnecting = new Map<string, number>();
  readonly #changed = new Set<Session>();
  readonly #changedDevices = new Set<string>();

  /** @param connections as stored: open ones, and those that ended within `endedRememberedMs`. Each edge gets a lease from now on. */
  static restored(connections: readonly Connection[], now: Moment): Presence {
    const presence = new Presence();
    for (const { end, ...connection } of connections) {
      const edge = presence.#edge(connection.edge);
      edge.latest = Math.max(edge.latest, connection.generation);
      edge.leaseUntil = now.monotonic + edgeLeaseMs;
      if (end?.reason === 'edge-lost') edge.lost = Math.max(edge.lost, connection.generation);
      const session = presence.#session(connection, connection.edge, connection.generation);
      if (end !== undefined) presence.#end(session, end, now);
    }
    presence.clearChanges();
    return presence;
  }

  apply(fact: PresenceFact, now: Moment): void {
    const { generation, leaseMs } = fact;
    const edge = this.#edge(fact.edge);
    edge.latest = Math.max(edge.latest, generation);
    edge.leaseUntil = Math.max(edge.leaseUntil, now.monotonic + leaseMs);
    if (fact.type === 'edge.beat') edge.announced = Math.max(edge.announced, generation);
    else {
      for (const started of fact.started) this.#start(started, edge, fact);
      for (const ended of fact.ended) this.#applyEnd(ended, fact, now);
    }
  }

  /**
   * Ends the sessions of edges without a lease, and of generations that are over; ends the time for reconnecting.
   * @returns edges with sessions that were lost, and the time since the last sign of life
   */
  advance(now: Moment): {
    readonly edge: string;
    readonly generation: number;
    readonly sessions: number;
    readonly silentMs: number;
  }[] {
    const losses = [];
    for (const [name, edge] of this.#edges) {
      if (edge.leaseUntil <= now.monotonic) edge.lost = edge.latest;
      const over = [...edge.sessions].filter((session) => session.end === undefined && isOver(session, edge));
      for (const session of over) this.#end(session, { reason: 'edge-lost', at: now.wall }, now);
      const silentMs = Math.max(0, Math.round(now.monotonic - (edge.leaseUntil - edgeLeaseMs)));
      if (over.length > 0) losses.push({ edge: name, generation: edge.latest, sessions: over.length, silentMs });
      const isForgotten = edge.leaseUntil + endedRememberedMs <= now.monotonic && edge.sessions.size === 0;
      if (isForgotten) this.#edges.delete(name);
    }
    for (const [deviceId, until] of this.#reconnecting) {
      if (until > now.monotonic) break;
      this.#reconnecting.delete(deviceId);
      this.#changedDevices.add(deviceId);
    }
    for (const [session, until] of this.#ended) {
      if (until > now.monotonic) break;
      this.#forget(session);
    }
    return losses;
  }

  /** What was changed since {@link clearChanges}. */
  changes(): { readonly connections: readonly Connection[]; readonly devices: readonly DevicePresence[] } {
    const devices = [...this.#changedDevices].map((deviceId) => this.ofDevice(deviceId));
    return { connections: [...this.#changed], devices: devices.filter((device) => device !== undefined) };
  }

  clearChanges(): void {
    this.#changed.clear();
    this.#changedDevices.clear();
  }

  /** @returns undefined for a device without a session, or whose sessions were forgotten */
  ofDevice(deviceId: string): DevicePresence | undefined {
    const sessions = [...(this.#ofDevice.get(deviceId) ?? [])];
    const open = sessions.filter(({ end }) => end === undefined);
    if (open.length > 0) {
      const since = Math.min(...open.map(({ startedAt }) => startedAt));
      return { deviceId, status: 'online', reason: 'connected', since, sessions: open.length };
    }
    const end = sessions
      .map((session) => ({ ...session.end!, id: session.sessionId }))
      .toSorted(byTime)
      .at(-1);
    if (end === undefined) return undefined;
    const { reason, at: since } = end;
    return reason === 'instance-stopped' && this.#reconnecting.has(deviceId)
      ? { deviceId, status: 'online', reason: 'reconnecting', since, sessions: 0 }
      : { deviceId, status: 'offline', reason, since, sessions: 0 };
  }

  #edge(name: string): Edge {
    const known = this.#edges.get(name);
    if (known !== undefined) return known;
    const edge: Edge = { announced: 0, latest: 0, lost: 0, leaseUntil: Number.NEGATIVE_INFINITY, sessions: new Set() };
    this.#edges.set(name, edge);
    return edge;
  }

  #session({ sessionId, deviceId, epoch, startedAt }: SessionFact, edge: string, generation: number): Session {
    const known = this.#sessions.get(sessionId);
    if (known !== undefined) return known;
    const session: Session = { sessionId, deviceId, epoch, startedAt, edge, generation, end: undefined };
    this.#sessions.set(sessionId, session);
    this.#edge(edge).sessions.add(session);
    const others = this.#ofDevice.get(deviceId);
    if (others === undefined) this.#ofDevice.set(deviceId, new Set([session]));
    else others.add(session);
    this.#note(session);
    return session;
  }

  #start(fact: SessionFact, edge: Edge, { edge: name, generation }: PresenceFact): void {
    if (generation <= edge.lost && !this.#sessions.has(fact.sessionId)) return;
    const session = this.#session(fact, name, generation);
    if (generation <= session.generation) return;
    session.generation = generation;
    if (session.end?.reason === 'edge-lost' && !isOver(session, edge)) {
      session.end = undefined;
      this.#ended.delete(session);
    }
    this.#note(session);
  }

  #applyEnd({ reason, endedAt, ...fact }: EndedSessionFact, { edge, generation }: PresenceFact, now: Moment): void {
    const session = this.#session(fact, edge, generation);
    session.generation = Math.max(session.generation, generation);
    if (session.end === undefined || session.end.reason === 'edge-lost')
      this.#end(session, { reason, at: endedAt }, now);
  }

  #end(session: Session, end: { readonly reason: ConnectionEndReason; readonly at: number }, now: Moment): void {
    session.end = end;
    this.#ended.delete(session);
    this.#ended.set(session, now.monotonic + endedRememberedMs);
    if (end.reason === 'instance-stopped') {
      this.#reconnecting.delete(session.deviceId);
      this.#reconnecting.set(session.deviceId, now.monotonic + reconnectGraceMs);
    }
    this.#note(session);
  }

  #note(session: Session): void {
    this.#changed.add(session);
    this.#changedDevices.add(session.deviceId);
  }

  #forget(session: Session): void {
    this.#ended.delete(session);
    this.#sessions.delete(session.sessionId);
    this.#edges.get(session.edge)?.sessions.delete(session);
    const others = this.#ofDevice.get(session.deviceId);
    others?.delete(session);
    if (others?.size === 0) this.#ofDevice.delete(session.deviceId);
  }
}

function isOver({ generation }: Session, { lost, announced }: Edge): boolean {
  return generation <= lost || generation < announced;
}

function byTime(a: { at: number; id: string }, b: { at: number; id: string }): number {
  return a.at - b.at || (a.id < b.id ? -1 : 1);
}
