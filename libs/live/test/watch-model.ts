import { type Interest, type LiveMessage, liveTypes } from '@fleetwire/contracts/live-message';
import type { Range } from '@fleetwire/contracts/range-set';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { EdgeInterest } from '../src/edge-interest.ts';
import {
  type EdgeInHistory,
  type HistoryQuestion,
  type RangesByEdge,
  Watch,
  type WatchPosition,
  openEnd,
} from '../src/watch.ts';

/** Faults planted into the model; each must make a run miss a reading or repeat one. */
export type Mutant =
  | 'prev-ignored'
  | 'fill-without-settled'
  | 'older-revisions-taken'
  | 'interest-does-not-move-prev'
  | 'history-above-settled';

interface Edge {
  readonly name: string;
  readonly key: number;
  readonly feed: EdgeInterest;
  isAlive: boolean;
  isClosed: boolean;
  number: number;
  readonly settled: Set<number>;
  /** For the mutant: the `prev` of the last message, had interest not moved it. */
  told: number;
}

interface Envelope {
  readonly edge: Edge;
  readonly number: number;
  readonly seqs: readonly number[];
}

interface Row extends Envelope {
  readonly seq: number;
}

interface Asking {
  readonly watch: Watch;
  readonly question: HistoryQuestion;
  readonly edges: Map<string, EdgeInHistory>;
  readonly rows: IdentifiedReading[];
  readonly left: RangesByEdge;
}

const instanceId = 'w';
const watched = 'd1';
const edgesMax = 5;
const leaseMs = 40;

/**
 * Edges that accept, lose live messages and are killed; a queue and a table with retries that overtake; one watching instance whose interest
 * changes; and a client that subscribes, breaks off at any moment and resumes with its newest cursor.
 */
export class WatchModel {
  readonly #mutant: Mutant | undefined;
  readonly #edges: Edge[] = [];
  readonly rows = new Map<number, Row>();
  #queue: Envelope[] = [];
  #live: { message: LiveMessage; generation: number }[] = [];
  #generation = 0;
  #interest: Interest = interestOf(0, []);
  #isOtherWatching = false;
  #watch: Watch | undefined;
  #revision = 0;
  #asking: Asking | undefined;
  #cursor: WatchPosition | undefined;
  #sinceCursor = new Set<number>();
  #seq = 0;
  #now = 1_000;
  readonly #mayRepeat = new Set<number>();
  readonly received = new Map<number, number>();
  readonly counts = { gaps: 0, resumes: 0, kills: 0, lost: 0, caughtUp: 0 };

  constructor(mutant?: Mutant) {
    this.#mutant = mutant;
    this.#addEdge();
  }

  /** @param action what happens, @param chance decides its details */
  act(action: number, chance: number): void {
    this.#now += 1;
    if (action < 6) this.#accept(chance);
    else if (action < 10) this.#store(chance);
    else if (action < 12) this.#beat(chance);
    else if (action < 15) this.#pump();
    else if (action < 18) this.#history(chance);
    else if (action === 18) this.#close();
    else if (action === 19) this.#subscribe();
    else if (action === 20 && chance % 6 === 0) this.#breakOff(chance);
    else if (action === 20 && chance % 7 === 0) this.#addEdge();
    else if (action === 21) this.#changeInterest();
    else if (action === 22 && chance % 4 === 0) {
      if (chance % 8 === 0) this.#watch?.pause();
      else this.#watch?.resume(this.#now);
    }
    this.#save();
  }

  /** Everything is stored and delivered; @returns the readings that were not received, and those that came twice without a reason */
  finish(): { missed: number[]; twice: number[] } {
    this.#watch?.resume(this.#now);
    for (let round = 0; round < 150; round += 1) {
      this.#now += 10;
      if (this.#watch === undefined) this.#subscribe();
      this.#store(0);
      this.#store(0);
      if (round > 50) while (this.#queue.length > 0) this.#store(0);
      this.#close();
      this.#beat(0, false);
      for (let i = 0; i < 10; i += 1) this.#pump();
      this.#watch?.tick(this.#now);
      this.#history(0);
      this.#history(0);
      if (round > 100) this.#now += 6_000;
      this.#save();
    }
    return {
      missed: [...this.rows.keys()].filter((seq) => !this.received.has(seq)),
      twice: [...this.received].filter(([seq, times]) => times > 1 && !this.#mayRepeat.has(seq)).map(([seq]) => seq),
    };
  }

  get isCaughtUp(): boolean {
    return this.#watch?.isCaughtUp ?? false;
  }

  #addEdge(): void {
    if (this.#edges.length >= edgesMax) return;
    const key = this.#edges.length + 1;
    this.#edges.push({
      name: `e${key}`,
      key,
      feed: new EdgeInterest(`e${key}`),
      isAlive: true,
      isClosed: false,
      number: 0,
      settled: new Set(),
      told: 0,
    });
  }

  #accept(chance: number): void {
    const alive = this.#edges.filter(({ isAlive }) => isAlive);
    if (alive.length === 0) return this.#addEdge();
    const edge = alive[chance % alive.length]!;
    const isOther = chance % 5 === 0;
    const seqs: number[] = [];
    const count = isOther ? 0 : 1 + (chance % 3);
    for (let i = 0; i < count; i += 1) {
      if (this.#seq > 0 && (chance + i) % 7 === 0) {
        const again = 1 + (chance % this.#seq);
        this.#mayRepeat.add(again);
        seqs.push(again);
      } else seqs.push((this.#seq += 1));
    }
    const number = (edge.number += 1);
    this.#queue.push({ edge, number, seqs });
    // Killed between the confirm and the live message.
    if (chance % 23 === 0) {
      edge.isAlive = false;
      this.counts.kills += 1;
      return;
    }
    const device = isOther ? 'd2' : watched;
    const readings = (isOther ? [0] : seqs).map((seq) => ({ seq, ts: 0, metrics: {} }));
    const runs = [{ deviceId: device, epoch: 'b1', receivedAt: 0, readings }];
    for (const message of edge.feed.publish(number, runs)) this.#send(edge, message, chance % 8 === 1);
  }

  #send(edge: Edge, message: LiveMessage, isLost: boolean): void {
    const to = message.to[instanceId]!;
    const prev = this.#mutant === 'interest-does-not-move-prev' ? Math.min(edge.told, to.prev) : to.prev;
    if (message.type === liveTypes.readings) edge.told = message.number;
    if (isLost) {
      this.counts.lost += 1;
      return;
    }
    this.#live.push({ message: { ...message, to: { [instanceId]: { ...to, prev } } }, generation: this.#generation });
  }

  #store(chance: number): void {
    if (this.#queue.length === 0) return;
    const [envelope] = this.#queue.splice(chance % Math.min(this.#queue.length, 4), 1);
    if (chance % 5 === 4) return void this.#queue.push(envelope!);
    const { edge, number, seqs } = envelope!;
    for (const seq of seqs) if (!this.rows.has(seq)) this.rows.set(seq, { edge, number, seqs, seq });
    edge.settled.add(number);
  }

  #beat(chance: number, mayFail = true): void {
    for (const edge of this.#edges) {
      if (!edge.isAlive) continue;
      if (!mayFail || chance % 2 === 0) {
        const answer = edge.feed.apply(this.#interest, edge.number, this.#now);
        if (answer !== undefined) this.#send(edge, answer, mayFail && chance % 8 === 1);
      }
      const position = edge.feed.position(edge.number);
      if (position !== undefined && (!mayFail || chance % 3 === 0))
        this.#send(edge, position, mayFail && chance % 8 === 1);
    }
  }

  #pump(): void {
    const next = this.#live.shift();
    if (next === undefined || next.generation !== this.#generation || this.#watch === undefined) return;
    const { edge, number, runs, to, type } = next.message;
    const { prev, revision } = to[instanceId]!;
    const readings = (runs ?? []).flatMap(({ deviceId, epoch, receivedAt, readings: members }) =>
      deviceId === watched ? members.map((member) => ({ deviceId, epoch, receivedAt, ...member })) : [],
    );
    this.#watch.hear(
      {
        edge,
        number,
        prev: this.#mutant === 'prev-ignored' ? 0 : prev,
        revision: this.#mutant === 'older-revisions-taken' ? Number.MAX_SAFE_INTEGER : revision,
        ...(type === liveTypes.readings ? { readings } : {}),
      },
      this.#now,
    );
  }

  /** Asks, or answers the question that was asked: the world goes on in between. */
  #history(chance: number): void {
    const watch = this.#watch;
    if (watch === undefined) return;
    watch.tick(this.#now);
    if (this.#asking === undefined) {
      const question = watch.nextQuestion(this.#now);
      if (question !== undefined) this.#asking = { watch, question, ...this.#read(question) };
      return;
    }
    const { edges, rows, left } = this.#asking;
    this.#asking = undefined;
    if (chance % 6 === 5) return watch.answerFailed(this.#now);
    watch.answerBegins(edges);
    watch.answerRows(rows);
    watch.answerEnds(left, this.#now);
  }

  #read({ first, ranges }: HistoryQuestion): Pick<Asking, 'edges' | 'rows' | 'left'> {
    const edges = new Map<string, EdgeInHistory>();
    for (const edge of this.#edges) {
      edges.set(edge.name, { key: edge.key, settled: settledOf(edge), isClosed: edge.isClosed });
    }
    const all = [...this.rows.values()];
    const left: Record<string, Range[]> = {};
    if (first) {
      const isAll = this.#mutant === 'history-above-settled';
      return { edges, rows: all.filter(({ edge, number }) => isAll || number <= settledOf(edge)).map(readingOf), left };
    }
    const isAsked = (name: string, number: number): boolean =>
      (ranges[name] ?? []).some(([from, to]) => from <= number && number <= to);
    for (const edge of this.#edges) {
      for (const [from, to] of ranges[edge.name] ?? []) {
        const end = to === openEnd ? edge.number : to;
        for (let number = from; number <= end; number += 1) {
          if (edge.settled.has(number)) continue;
          if (this.#mutant !== 'fill-without-settled') (left[edge.name] ??= []).push([number, number]);
        }
        if (to === openEnd) (left[edge.name] ??= []).push([Math.max(from, edge.number + 1), openEnd]);
      }
    }
    const rows = all
      .filter(
        ({ edge, number }) => isAsked(edge.name, number) && (edge.settled.has(number) || this.#mutant !== undefined),
      )
      .map(readingOf);
    return { edges, rows, left };
  }

  #close(): void {
    for (const edge of this.#edges) {
      if (!edge.isAlive && !this.#queue.some((envelope) => envelope.edge === edge)) edge.isClosed = true;
    }
  }

  #subscribe(): void {
    if (this.#watch !== undefined) return;
    this.#announce([watched]);
    this.#revision = this.#interest.revision;
    this.#watch = new Watch({
      revision: this.#revision,
      resumeFrom: this.#cursor,
      now: this.#now,
      bufferReadingsMax: 6,
      leaseMs,
      onReadings: (_phase, readings) => {
        for (const { seq } of readings) {
          this.received.set(seq, (this.received.get(seq) ?? 0) + 1);
          this.#sinceCursor.add(seq);
        }
      },
      onNotice: ({ type }) => {
        if (type === 'gap') this.counts.gaps += 1;
        if (type === 'caught_up') this.counts.caughtUp += 1;
      },
    });
  }

  #announce(devices: readonly string[]): void {
    const all = this.#isOtherWatching ? [...devices, 'd2'] : devices;
    this.#interest = interestOf(this.#interest.revision + 1, all);
  }

  #changeInterest(): void {
    this.#isOtherWatching = !this.#isOtherWatching;
    this.#announce(this.#watch === undefined ? [] : [watched]);
  }

  #breakOff(chance: number): void {
    if (this.#watch === undefined) return;
    // What came after the newest cursor comes again: those frames carried none.
    for (const seq of this.#sinceCursor) this.#mayRepeat.add(seq);
    if (chance % 3 === 0) {
      this.#generation += 1;
      this.#live = [];
    }
    this.#watch = undefined;
    this.#asking = undefined;
    this.#announce([]);
    this.counts.resumes += 1;
  }

  #save(): void {
    const position = this.#asking === undefined ? this.#watch?.position : undefined;
    if (position === undefined) return;
    this.#cursor = structuredClone(position);
    this.#sinceCursor.clear();
  }
}

function settledOf({ settled }: Edge): number {
  let number = 0;
  while (settled.has(number + 1)) number += 1;
  return number;
}

function readingOf({ seq }: Row): IdentifiedReading {
  return { deviceId: watched, epoch: 'b1', seq, ts: 0, receivedAt: 0, metrics: {} };
}

function interestOf(revision: number, devices: readonly string[]): Interest {
  return {
    type: liveTypes.interest,
    instanceId,
    revision,
    ttlMs: 1_000_000,
    all: false,
    devices: [...devices],
    patterns: [],
  };
}
