import type { StoredNotice } from '@fleetwire/contracts/stored-notice';
import type { IngestMetrics } from './metrics.ts';
import type { Dead, StoredAnswers } from './stored-answers.ts';
import type { StoredRange } from './stored-acks.ts';
import type { Stream } from './session-streams.ts';

/** The readings of one frame, whose device hears when they are stored. */
export interface AwaitedRun {
  readonly answers: StoredAnswers;
  readonly stream: Stream;
  readonly range: StoredRange;
  isDone: boolean;
}

interface AwaitedEnvelope {
  readonly number: number;
  /** Milliseconds of the monotonic clock. */
  readonly publishedAt: number;
  readonly runs: readonly AwaitedRun[];
  isConfirmed: boolean;
  /** Arrived before the confirm. */
  notice?: StoredNotice;
}

export interface AwaitingStoredOptions {
  readonly runsMax: number;
  /** A lost notice can be made up for. */
  readonly isRecovered: boolean;
  readonly metrics: Pick<IngestMetrics, 'storedNotices' | 'storedNoticeSeconds' | 'awaitingStored'>;
}

/**
 * The envelopes of this edge with readings whose devices hear when they are stored, from their publication until a worker, or query-api,
 * says what became of them. Where no device asks, it holds nothing and is asked nothing but {@link isAsked}.
 */
export class AwaitingStored {
  readonly #options: AwaitingStoredOptions;
  readonly #sessions = new Set<StoredAnswers>();
  readonly #envelopes = new Map<number, AwaitedEnvelope>();
  #runs = 0;

  constructor(options: AwaitingStoredOptions) {
    this.#options = options;
  }

  /** A device of this edge hears when its readings are stored. */
  get isAsked(): boolean {
    return this.#sessions.size > 0;
  }

  /** One more device can be told. */
  get hasRoom(): boolean {
    return this.#options.isRecovered && this.#runs < this.#options.runsMax;
  }

  get runsMax(): number {
    return this.#options.runsMax;
  }

  add(session: StoredAnswers): void {
    this.#sessions.add(session);
  }

  /** The session has ended, or gets acks alone from now on. */
  remove(session: StoredAnswers): void {
    if (!this.#sessions.delete(session)) return;
    this.#count(-session.awaited);
    session.awaited = 0;
  }

  /** An envelope is published. @returns whether a worker has to say when it is stored */
  begin(number: number, submissions: readonly { readonly awaited: AwaitedRun | undefined }[]): boolean {
    const runs = submissions.flatMap(({ awaited }) => (awaited?.answers.isOpen === true ? [awaited] : []));
    if (runs.length === 0) return false;
    for (const { range, answers } of runs) {
      range.isAwaited = true;
      answers.awaited += 1;
    }
    this.#count(runs.length);
    this.#envelopes.set(number, { number, publishedAt: performance.now(), runs, isConfirmed: false });
    while (this.#runs > this.#options.runsMax) largestOf(this.#sessions).stop();
    return true;
  }

  /** After its submissions were accepted or nacked. */
  answered(number: number, isConfirmed: boolean): void {
    const envelope = this.#envelopes.get(number);
    if (envelope === undefined) return;
    envelope.isConfirmed = isConfirmed;
    if (isConfirmed) return envelope.notice && this.#settle(envelope, envelope.notice);
    this.#envelopes.delete(number);
    for (const run of envelope.runs) {
      run.answers.notSent(run);
      this.#end(run);
    }
  }

  receive(notice: StoredNotice): void {
    const { storedNoticeSeconds } = this.#options.metrics;
    let isAwaited = false;
    for (const number of notice.numbers) {
      const envelope = this.#envelopes.get(number);
      if (envelope === undefined) continue;
      isAwaited = true;
      if (envelope.isConfirmed) this.#settle(envelope, notice);
      else envelope.notice = notice;
    }
    if (isAwaited) storedNoticeSeconds.observe(Math.max(0, Date.now() - notice.committedAt) / 1_000);
  }

  /** What query-api found of a run. */
  found(run: AwaitedRun, dead: readonly Dead[]): void {
    if (run.isDone || !run.answers.isOpen) return;
    run.answers.settle(run, dead, []);
    this.#end(run);
  }

  /** Runs of confirmed envelopes that were published longer ago, the oldest first. Forgets the envelopes that have none. */
  late(ageMs: number): { readonly number: number; readonly run: AwaitedRun }[] {
    const late = [];
    const publishedBy = performance.now() - ageMs;
    for (const { number, publishedAt, runs, isConfirmed } of this.#envelopes.values()) {
      if (publishedAt > publishedBy) break;
      if (!isConfirmed) continue;
      const open = runs.filter(({ isDone, answers }) => !isDone && answers.isOpen);
      if (open.length === 0) this.#envelopes.delete(number);
      for (const run of open) late.push({ number, run });
    }
    return late;
  }

  /** Sends the counts of conflicting readings that are due. */
  sendCounts(): void {
    for (const session of this.#sessions) session.sendCounts();
  }

  #settle({ number, runs }: AwaitedEnvelope, { dead, conflicting }: StoredNotice): void {
    const ofEnvelope = (one: { readonly number: number }): boolean => one.number === number;
    const [deadHere, conflictingHere] = [dead.filter(ofEnvelope), conflicting.filter(ofEnvelope)];
    let isLeft = false;
    for (const run of runs) {
      if (run.isDone || !run.answers.isOpen) continue;
      if (run.answers.settle(run, deadHere, conflictingHere)) this.#end(run);
      else isLeft = true;
    }
    if (!isLeft) this.#envelopes.delete(number);
  }

  #end(run: AwaitedRun): void {
    if (run.isDone) return;
    run.isDone = true;
    if (!run.answers.isOpen) return;
    run.answers.awaited -= 1;
    this.#count(-1);
  }

  #count(change: number): void {
    this.#runs += change;
    this.#options.metrics.awaitingStored.set(this.#runs);
  }
}

function largestOf(sessions: Iterable<StoredAnswers>): StoredAnswers {
  let largest: StoredAnswers | undefined;
  for (const session of sessions) if (largest === undefined || session.awaited > largest.awaited) largest = session;
  return largest!;
}
