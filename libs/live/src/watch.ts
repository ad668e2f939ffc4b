import { type Range, RangeSet } from '@fleetwire/contracts/range-set';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { type GapReason, type Kind, type Notice, Notices } from './notices.ts';
import { SentReadings } from './sent-readings.ts';

export type Phase = 'history' | 'live' | 'fill';

/** Ranges of envelope numbers, by edge. */
export type RangesByEdge = Readonly<Record<string, readonly Range[]>>;

/** The end of a range that goes on: everything that the edge has sent or will send. */
export const openEnd = Number.MAX_SAFE_INTEGER;

/** Of each edge, everything up to `hi` was sent except `gaps`. An edge whose key is above `edgesKnown` counts from 0. */
export interface WatchPosition {
  readonly hi: Readonly<Record<string, number>>;
  readonly gaps: RangesByEdge;
  readonly edgesKnown: number;
}

/** One live message as one subscription sees it: `readings` are those that its filter selects; undefined in a position. */
export interface Heard {
  readonly edge: string;
  readonly number: number;
  readonly prev: number;
  readonly revision: number;
  readonly readings?: readonly IdentifiedReading[];
  /** Of the readings as text; needed while {@link Watch.isBuffering}. */
  readonly bytes?: number;
}

/** What the history knows of an edge: all its envelopes up to `settled` are stored; nothing more will come when it `isClosed`. */
export interface EdgeInHistory {
  readonly key: number;
  readonly settled: number;
  readonly isClosed: boolean;
}

/**
 * A question to the history, answered from one snapshot: with `first` the readings of all envelopes up to `settled`, from the time that the
 * subscription asked for; else those of the numbers in `ranges` that are settled, and which are left.
 */
export interface HistoryQuestion {
  readonly first: boolean;
  readonly ranges: RangesByEdge;
  /** Closed edges with a key up to this one need not be named in the answer. */
  readonly edgesKnown: number;
}

export interface WatchOptions {
  /** Messages that carry an older revision come from an edge that did not know this subscription's filter. */
  readonly revision: number;
  /** Where to go on; without it the subscription begins with its history. */
  readonly resumeFrom?: WatchPosition | undefined;
  readonly now: number;
  readonly onReadings: (phase: Phase, readings: readonly IdentifiedReading[]) => void;
  readonly onNotice: (notice: Notice) => void;
  readonly bufferReadingsMax: number;
  /** An edge that is silent for so long has ended, or cannot be heard. */
  readonly leaseMs: number;
}

/** The state of one edge. `hi`: everything up to it was sent, or is in the gaps. */
interface EdgeState {
  hi: number | undefined;
  /** Live went ahead of the history from here: what the edge sent up to this number is not dealt with yet. */
  base: number | undefined;
  heardAt: number;
  isHeard: boolean;
  isClosed: boolean;
  isLost: boolean;
  /** The history was asked for what follows `hi` since it was lost. */
  isFollowed: boolean;
}

const rangesPerQuestionMax = 100;
/** Live messages kept while the history is read, beside the bound in readings. */
const bufferMessagesMax = 10_000;
const bufferBytesMax = 4 * 1024 * 1024;
/** `ended`: nothing is missing, but edges have ended of which it is not known that they are closed. */
const pollMs = { first: 250, max: 5_000, ended: 60_000 };
/** How often the history is asked for edges that were never heard: they were killed before they had published what they had accepted. */
const lookMs = 120_000;

/**
 * One subscription in mode `complete`: joins history and live so that nothing is missing and nothing comes twice. No I/O, no timers: the
 * caller passes messages and time, puts the questions of `nextQuestion` to the history, and passes on the answers.
 */
export class Watch {
  readonly #options: WatchOptions;
  readonly #edges = new Map<string, EdgeState>();
  readonly #gaps = new Map<string, RangeSet>();
  readonly #notices: Notices;
  readonly #sent = new SentReadings();
  #edgesKnown: number;
  #buffer: { heard: Heard; at: number }[] | undefined = [];
  #bufferedReadings = 0;
  #bufferedBytes = 0;
  #isHistoryRead = false;
  #asked: HistoryQuestion | undefined;
  #answerEdges: ReadonlyMap<string, EdgeInHistory> = new Map();
  #questionAt = 0;
  #lookAt = 0;
  #pauseMs = pollMs.first;
  #isCaughtUp = false;
  #filledReadings = 0;
  #isPaused = false;
  #lossReason: GapReason = 'instance-overloaded';

  constructor(options: WatchOptions) {
    this.#options = options;
    const { resumeFrom } = options;
    this.#notices = new Notices(options.onNotice);
    this.#edgesKnown = resumeFrom?.edgesKnown ?? 0;
    for (const [edge, hi] of Object.entries(resumeFrom?.hi ?? {})) this.#stateOf(edge).hi = hi;
    for (const [edge, ranges] of Object.entries(resumeFrom?.gaps ?? {}))
      for (const [first, last] of ranges) this.#addNumbers(edge, first, last);
  }

  /** Where another subscription with this filter can go on; undefined until the history is read. */
  get position(): WatchPosition | undefined {
    if (!this.#isHistoryRead) return undefined;
    const hi: Record<string, number> = {};
    for (const [edge, state] of this.#edges) {
      if (state.hi !== undefined && !(state.isClosed && !this.#gaps.has(edge))) hi[edge] = state.hi;
    }
    const gaps: Record<string, Range[]> = {};
    for (const [edge, numbers] of this.#gaps)
      gaps[edge] = Array.from(numbers, ([first, last]) => [first, last] as const);
    return { hi, gaps, edgesKnown: this.#edgesKnown };
  }

  /** Live messages are kept until the history is read. */
  get isBuffering(): boolean {
    return this.#buffer !== undefined;
  }

  /** Everything that arrived at the edges so far was sent, but what is on its way. */
  get isComplete(): boolean {
    if (!this.#isHistoryRead || this.#gaps.size > 0 || this.#notices.areOpen) return false;
    return ![...this.#edges.values()].some(({ isLost }) => isLost);
  }

  get isCaughtUp(): boolean {
    return this.#isCaughtUp;
  }

  hear(heard: Heard, now: number): void {
    if (heard.revision < this.#options.revision) return;
    if (this.#buffer === undefined) this.#take(heard, now);
    else this.#keep(heard, now);
    this.#tell();
  }

  /** The connection to the broker was lost: what is found missing next was lost with it. */
  noteReconnected(): void {
    this.#lossReason = 'broker-reconnected';
  }

  /** The subscriber does not keep up: live readings are remembered by number only. */
  pause(): void {
    this.#isPaused = true;
  }

  /** The subscriber reads again: what was left out is told, and read from the history. */
  resume(now: number): void {
    this.#isPaused = false;
    this.#questionAt = Math.min(this.#questionAt, now);
    this.#tell();
  }

  /** Edges that are silent for longer than their lease are followed in the history instead. */
  tick(now: number): void {
    for (const state of this.#edges.values()) {
      if (state.isClosed || state.isLost || now - state.heardAt < this.#options.leaseMs) continue;
      state.isLost = true;
      this.#notices.add({ type: 'pending', reason: 'edge-ended' }, state.heardAt, now);
      this.#questionAt = Math.min(this.#questionAt, now);
    }
    this.#tell();
  }

  /**
   * One question at a time, without ranges where it looks for new edges alone; undefined when there is none now. Answer it with
   * `answerBegins`, `answerRows` and `answerEnds`, or `answerFailed`.
   */
  nextQuestion(now: number): HistoryQuestion | undefined {
    if (this.#asked !== undefined || this.#isPaused || now < this.#questionAt) return undefined;
    const isFirst = !this.#isHistoryRead && this.#options.resumeFrom === undefined;
    const ranges = isFirst ? {} : this.#rangesToRead();
    const question = { first: isFirst, ranges, edgesKnown: this.#edgesKnown };
    if (this.#isLook(question) && now < this.#lookAt) return undefined;
    this.#asked = question;
    return question;
  }

  answerBegins(edges: ReadonlyMap<string, EdgeInHistory>): void {
    this.#answerEdges = edges;
  }

  answerRows(rows: readonly IdentifiedReading[]): void {
    const phase = this.#isHistoryRead ? 'fill' : 'history';
    const sent = this.#send(phase, rows);
    if (phase === 'fill') {
      this.#filledReadings += sent;
      this.#notices.countFilled(sent);
    }
  }

  /** @param left the ranges of the question that are not settled yet */
  answerEnds(left: RangesByEdge, now: number): void {
    const asked = this.#asked;
    if (asked === undefined) return;
    this.#asked = undefined;
    this.#notices.end('history-unavailable');
    if (asked.first) this.#startAfterHistory();
    let isNewEdge = false;
    for (const [edge, { key, settled, isClosed }] of this.#answerEdges) {
      if (!asked.first && !this.#edges.has(edge)) {
        // Not in the position that this subscription resumed from: begun since then, or closed and sent.
        const isNew = key > asked.edgesKnown;
        if (isNew || !isClosed) Object.assign(this.#stateOf(edge), { hi: isNew ? 0 : settled, heardAt: now });
        isNewEdge ||= isNew;
      }
      this.#edgesKnown = Math.max(this.#edgesKnown, key);
    }
    let handled = 0;
    for (const [edge, ranges] of Object.entries(asked.ranges))
      handled += this.#settle(edge, ranges, left[edge] ?? [], now);
    for (const [edge, { isClosed, settled }] of this.#answerEdges)
      if (isClosed && this.#edges.has(edge)) this.#closeEdge(edge, settled);
    const pauseMaxMs = this.#gaps.size > 0 ? pollMs.max : pollMs.ended;
    this.#pauseMs = handled > 0 ? pollMs.first : Math.min(this.#pauseMs * 2, pauseMaxMs);
    this.#questionAt = isNewEdge ? now : now + this.#pauseMs;
    this.#lookAt = now + lookMs;
    if (!isNewEdge) this.#beginLive();
    this.#tell();
  }

  answerFailed(now: number): void {
    const asked = this.#asked;
    this.#asked = undefined;
    if (asked !== undefined && this.#isLook(asked)) {
      // Nothing is known to be missing.
      this.#lookAt = now + lookMs;
      return;
    }
    this.#pauseMs = Math.min(this.#pauseMs * 2, pollMs.max);
    this.#questionAt = now + this.#pauseMs;
    this.#notices.add({ type: 'pending', reason: 'history-unavailable' }, now, now);
    // Live does not wait for a history that cannot be read.
    this.#releaseBuffer();
    this.#tell();
  }

  #isLook({ ranges }: HistoryQuestion): boolean {
    return this.#isHistoryRead && Object.keys(ranges).length === 0;
  }

  #stateOf(edge: string): EdgeState {
    let state = this.#edges.get(edge);
    if (state === undefined) {
      const { now } = this.#options;
      state = {
        hi: undefined,
        base: undefined,
        heardAt: now,
        isHeard: false,
        isClosed: false,
        isLost: false,
        isFollowed: false,
      };
      this.#edges.set(edge, state);
    }
    return state;
  }

  #keep(heard: Heard, at: number): void {
    const buffer = this.#buffer!;
    const { readings = [], bytes = 0 } = heard;
    const count = readings.length;
    // What is dropped here is missing to the next message of its edge, which makes it a gap.
    if (this.#bufferedReadings + count > this.#options.bufferReadingsMax) return;
    if (buffer.length >= bufferMessagesMax || this.#bufferedBytes + bytes > bufferBytesMax) return;
    this.#bufferedReadings += count;
    this.#bufferedBytes += bytes;
    buffer.push({ heard, at });
  }

  #take({ edge, number, prev, readings }: Heard, now: number): void {
    const state = this.#stateOf(edge);
    const from = state.heardAt;
    state.heardAt = Math.max(state.heardAt, now);
    state.isHeard = true;
    if (number > (state.hi ?? 0)) state.isClosed = false;
    this.#find(state);
    if (state.hi === undefined) {
      const mayHaveHistory = !this.#isHistoryRead && this.#options.resumeFrom === undefined;
      // A message that an edge sent before it was closed can come after a history that has all of the edge.
      const closed = this.#answerEdges.get(edge);
      state.hi = mayHaveHistory ? prev : closed?.isClosed === true ? closed.settled : 0;
      if (mayHaveHistory) state.base = prev;
    }
    const { hi } = state;
    if (prev > hi) this.#addGap(edge, hi + 1, prev, this.#lossReason, from, now);
    if (readings === undefined || number <= hi) {
      // Between `prev` and the number of a position nothing matches.
      state.hi = Math.max(hi, readings === undefined ? number : prev);
      return;
    }
    state.hi = number;
    if (readings.length === 0) return;
    // The numbers between `prev` and this one hold nothing that matches.
    if (this.#isPaused) this.#addGap(edge, Math.max(hi, prev) + 1, number, 'slow-watcher', from, now);
    else this.#send('live', readings);
  }

  #send(phase: Phase, readings: readonly IdentifiedReading[]): number {
    const fresh = readings.filter((reading) => this.#sent.add(reading));
    if (fresh.length > 0) this.#options.onReadings(phase, fresh);
    return fresh.length;
  }

  #addNumbers(edge: string, first: number, last: number): void {
    const numbers = this.#gaps.get(edge) ?? new RangeSet();
    numbers.add(first, last);
    this.#gaps.set(edge, numbers);
  }

  #addGap(edge: string, first: number, last: number, reason: GapReason, from: number, now: number): void {
    const wasEmpty = this.#gaps.size === 0;
    this.#addNumbers(edge, first, last);
    const isGap = this.#isCaughtUp || reason === 'slow-watcher';
    const kind: Kind = isGap ? { type: 'gap', reason } : { type: 'pending', reason: 'not-stored-yet' };
    this.#notices.add(kind, from, now, { edge, first, last });
    if (wasEmpty && this.#isHistoryRead) {
      this.#pauseMs = pollMs.first;
      this.#questionAt = now + pollMs.first;
    }
  }

  #rangesToRead(): RangesByEdge {
    const ranges: Record<string, Range[]> = {};
    let count = 0;
    const add = (edge: string, range: Range): void => {
      if (count >= rangesPerQuestionMax) return;
      count += 1;
      (ranges[edge] ??= []).push(range);
    };
    // Copies: the sets change while the question is out.
    for (const [edge, numbers] of this.#gaps) for (const [first, last] of numbers) add(edge, [first, last]);
    for (const [edge, state] of this.#edges) {
      const isFollowed = !state.isClosed && (state.isLost || !this.#isHistoryRead);
      if (isFollowed && state.hi !== undefined) add(edge, [state.hi + 1, openEnd]);
    }
    return ranges;
  }

  /** Takes the first answer as the history of each edge up to `settled`; what live passed over before is a gap. */
  #startAfterHistory(): void {
    for (const [edge, { settled, isClosed }] of this.#answerEdges) {
      if (isClosed && !this.#edges.has(edge)) continue;
      const state = this.#stateOf(edge);
      state.hi = Math.max(state.hi ?? 0, settled);
      this.#settleNumbers(edge, rangeSetOf([[1, settled]]));
    }
    const { now } = this.#options;
    for (const [edge, state] of this.#edges) {
      const { base } = state;
      const settled = this.#answerEdges.get(edge)?.settled ?? 0;
      if (base !== undefined && settled < base)
        this.#addGap(edge, settled + 1, base, this.#lossReason, now, state.heardAt);
      state.base = undefined;
    }
  }

  /** Nothing more comes of this edge, and all of it is stored. */
  #closeEdge(edge: string, settled: number): void {
    const state = this.#stateOf(edge);
    if ((state.hi ?? 0) < settled) return;
    state.isClosed = true;
    this.#find(state);
  }

  #find(state: EdgeState): void {
    state.isFollowed = false;
    if (!state.isLost) return;
    state.isLost = false;
    if (![...this.#edges.values()].some((other) => other.isLost)) this.#notices.end('edge-ended');
  }

  /** @returns how many numbers, or ends of them, are dealt with by the answer */
  #settle(edge: string, asked: readonly Range[], left: readonly Range[], now: number): number {
    const rest = rangeSetOf(left);
    const done = rangeSetOf(asked).minus(rest);
    const open = asked.find(([, last]) => last === openEnd);
    const state = this.#stateOf(edge);
    if (open !== undefined) state.isFollowed = state.isLost;
    if (done.size === 0) return 0;
    this.#settleNumbers(edge, done);
    if (open === undefined) return done.size;
    const upTo = done.last!;
    const hi = state.hi ?? 0;
    if (upTo > hi) {
      for (const [first, last] of left)
        if (first < upTo && last > hi && last < openEnd)
          this.#addGap(edge, Math.max(first, hi + 1), last, this.#lossReason, state.heardAt, now);
      state.hi = upTo;
    }
    return done.size;
  }

  #settleNumbers(edge: string, done: RangeSet): void {
    const gaps = this.#gaps.get(edge)?.minus(done);
    if (gaps !== undefined && gaps.size > 0) this.#gaps.set(edge, gaps);
    else this.#gaps.delete(edge);
    this.#notices.settle(edge, done);
  }

  #beginLive(): void {
    this.#isHistoryRead = true;
    this.#releaseBuffer();
  }

  #releaseBuffer(): void {
    const buffer = this.#buffer ?? [];
    this.#buffer = undefined;
    this.#bufferedReadings = 0;
    this.#bufferedBytes = 0;
    for (const { heard, at } of buffer) this.#take(heard, at);
  }

  #tell(): void {
    if (this.#isPaused) return;
    this.#notices.tell();
    if (this.#isCaughtUp || !this.#isHistoryRead || this.#gaps.size > 0 || this.#notices.areOpen) return;
    for (const { isHeard, isClosed, isFollowed } of this.#edges.values())
      if (!isHeard && !isClosed && !isFollowed) return;
    this.#isCaughtUp = true;
    this.#lossReason = 'instance-overloaded';
    this.#options.onNotice({ type: 'caught_up', readings: this.#filledReadings });
  }
}

function rangeSetOf(ranges: readonly Range[]): RangeSet {
  const set = new RangeSet();
  for (const [first, last] of ranges) set.add(first, last);
  return set;
}
