import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { type HistoryBeginning, HistoryRefusal, type HistoryStart } from './history-client.ts';
import type { CursorContent } from './live-cursor.ts';
import type { LiveFilter } from './live-filter.ts';
import type { HeardMessage, HubOptions, HubSubscription } from './live-hub.ts';
import type { Notice } from './notices.ts';
import { type Selection, framesOf } from './selection.ts';
import { type HistoryQuestion, type Phase, Watch, type WatchPosition } from './watch.ts';

/** Positions are kept for a day at least (POSITIONS_RETENTION_DAYS): a younger cursor has not expired. */
const positionsKeptMs = 24 * 60 * 60 * 1_000;
/** The clocks of edges may differ by so much. */
const clocksApartMs = 60_000;

export interface CompleteOptions {
  readonly hub: Pick<HubOptions, 'history' | 'cursors' | 'metrics' | 'limits'>;
  readonly filter: LiveFilter;
  /** RFC 3339; undefined for none. */
  readonly since: string | undefined;
  readonly resume: CursorContent | undefined;
  readonly token: () => string | undefined;
  /** @param readings a JSON array; @param cursor covers it and all before */
  readonly onReadings: (phase: Phase, readings: string, cursor: string | undefined, mayRepeat: boolean) => void;
  readonly onNotice: (notice: Notice, cursor: string | undefined) => void;
  /** It cannot go on; `isStoreReplaced`: the cursor is of another installation. */
  readonly onFailure: (code: 'cursor-invalid' | 'limit-exceeded', message: string) => void;
  /** Resolves when the subscriber has read most of what was sent; undefined when it has now. */
  readonly whenRoom: (signal: AbortSignal) => Promise<void> | undefined;
}

/** A subscription in mode `complete`: a {@link Watch}, fed by the hub, that puts its questions to the history. */
export class CompleteSubscription implements HubSubscription {
  readonly filter: LiveFilter;
  readonly hearsAll = true;
  readonly #options: CompleteOptions;
  readonly #ending = new AbortController();
  #watch!: Watch;
  #installation: string | undefined;
  #selection: Selection | undefined;
  #revision = 0;
  /** Everything that arrived before it was sent; the time of the cursor, or that from which the history comes. */
  #completeAt: number;
  /** Where the history begins, which an expired cursor changes. */
  #start: HistoryStart;
  /** The first answer shows whether what the cursor means is still kept. */
  #isStartKnown = false;
  /** The history is that of an expired cursor. */
  #expiredGap: { readonly gapId: string; readings: number } | undefined;

  constructor(options: CompleteOptions) {
    this.#options = options;
    this.filter = options.filter;
    const { resume, since } = options;
    this.#installation = resume?.installation;
    this.#completeAt = resume?.completeAt ?? (since === undefined ? Date.now() : Date.parse(since));
    this.#start = resume === undefined ? { since } : { resumedFrom: resume.completeAt };
  }

  begin(revision: number, now: number): void {
    this.#revision = revision;
    this.#watch = this.#openWatch(this.#options.resume?.position, now);
    this.tick(now);
  }

  #openWatch(resumeFrom: WatchPosition | undefined, now: number): Watch {
    const { hub } = this.#options;
    return new Watch({
      revision: this.#revision,
      resumeFrom,
      now,
      bufferReadingsMax: hub.limits.liveBufferReadingsMax,
      leaseMs: hub.limits.interestTtlMs,
      onReadings: (phase, readings) => this.#send(phase, readings),
      onNotice: (notice) => this.#notify(notice),
    });
  }

  hear({ selection, ...heard }: HeardMessage, now: number): void {
    this.#selection = selection;
    const bytes = this.#watch.isBuffering ? (selection?.bytes ?? 0) : 0;
    this.#watch.hear({ ...heard, ...(selection === undefined ? {} : { readings: selection.readings, bytes }) }, now);
    this.#selection = undefined;
  }

  noteReconnected(): void {
    this.#watch.noteReconnected();
  }

  pause(): void {
    this.#watch.pause();
  }

  resume(now: number): void {
    this.#watch.resume(now);
  }

  tick(now: number): void {
    this.#watch.tick(now);
    const question = this.#watch.nextQuestion(now);
    if (question !== undefined) void this.#ask(question);
  }

  close(): void {
    this.#ending.abort();
  }

  async #ask(question: HistoryQuestion): Promise<void> {
    const { hub, filter, token, whenRoom } = this.#options;
    const { signal } = this.#ending;
    try {
      if (hub.history === undefined) throw new Error('no history is configured');
      for await (const part of hub.history.read(question, { filter, start: this.#start, token: token(), signal })) {
        if (signal.aborted) return;
        if ('edges' in part) {
          if (this.#installation !== undefined && this.#installation !== part.installation)
            throw new StoreReplaced('the database was restored or replaced since this cursor; subscribe with since');
          this.#installation = part.installation;
          if (this.#hasExpired(question, part)) return this.#startAgain();
          if (!this.#isStartKnown) this.#noteRetention(part.earliest);
          this.#isStartKnown = true;
          this.#watch.answerBegins(part.edges);
        } else if ('rows' in part) {
          const projected = part.rows.flatMap((row) => filter.project(row) ?? []);
          // Not awaited where there is room: other subscriptions of the socket would find the same room.
          const waiting = whenRoom(signal);
          if (waiting !== undefined) await waiting;
          if (signal.aborted) return;
          this.#watch.answerRows(projected);
        } else {
          this.#watch.answerEnds(part.left, Date.now());
          this.#endExpiredGap();
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof StoreReplaced) return this.#options.onFailure('cursor-invalid', error.message);
      if (error instanceof HistoryRefusal) return this.#options.onFailure('limit-exceeded', error.message);
      this.#watch.answerFailed(Date.now());
    }
  }

  #send(phase: Phase, readings: readonly IdentifiedReading[]): void {
    const { hub, onReadings } = this.#options;
    hub.metrics.readings.inc({ phase }, readings.length);
    if (phase === 'history' && this.#expiredGap !== undefined) this.#expiredGap.readings += readings.length;
    const shared = this.#selection;
    // Only an unfiltered selection has the shared text: readings that were sent before are left out.
    const isShared = phase === 'live' && shared !== undefined && shared.readings.length === readings.length;
    const frames = isShared && shared.readings[0] === readings[0] ? shared.frames : framesOf(readings);
    // A cursor covers whole messages; rows of a history are covered when the question is answered.
    const last = phase === 'live' ? frames.length - 1 : -1;
    frames.forEach((frame, index) => {
      const { cursor, mayRepeat } = index === last ? this.#cursor() : { cursor: undefined, mayRepeat: false };
      onReadings(phase, frame, cursor, mayRepeat);
    });
  }

  /**
   * The positions that the cursor names are deleted: what was stored since cannot be told by number. Other edges of the question were heard
   * since it was put; the database may not know them yet.
   */
  #hasExpired({ ranges }: HistoryQuestion, { edges, uncovered }: HistoryBeginning): boolean {
    const { resume } = this.#options;
    if (resume === undefined || this.#isStartKnown) return false;
    if ((resume.completeAt ?? 0) > Date.now() - positionsKeptMs) return false;
    const { hi, gaps } = resume.position;
    const isOfCursor = (edge: string): boolean => Object.hasOwn(hi, edge) || Object.hasOwn(gaps, edge);
    return uncovered.some(isOfCursor) || Object.keys(ranges).some((edge) => isOfCursor(edge) && !edges.has(edge));
  }

  /** Everything that arrived since the cursor is read, as a history. */
  #startAgain(): void {
    const { resume, onFailure } = this.#options;
    if (resume?.completeAt === undefined)
      return onFailure('cursor-invalid', 'the cursor has expired; subscribe with since');
    const now = Date.now();
    const from = resume.completeAt - clocksApartMs;
    this.#start = { receivedSince: from };
    this.#completeAt = from;
    this.#watch = this.#openWatch(undefined, now);
    this.#expiredGap = { gapId: 'cursor', readings: 0 };
    this.#notify({ type: 'gap', gapId: 'cursor', reason: 'cursor-expired', from, to: now, envelopes: null });
    this.tick(now);
  }

  #endExpiredGap(): void {
    if (this.#expiredGap === undefined) return;
    this.#notify({ type: 'gap_filled', ...this.#expiredGap });
    this.#expiredGap = undefined;
  }

  #noteRetention(earliest: number | undefined): void {
    const from = this.#completeAt;
    if (earliest === undefined || from >= earliest) return;
    const reason = 'before-retention';
    this.#notify({ type: 'gap', gapId: 'retention', reason, from, to: earliest, envelopes: null, earliest });
  }

  #notify(notice: Notice): void {
    const { hub, onNotice } = this.#options;
    if (notice.type === 'gap') hub.metrics.gaps.inc({ reason: notice.reason });
    onNotice(notice, this.#cursor().cursor);
  }

  #cursor(): { cursor: string | undefined; mayRepeat: boolean } {
    const { position } = this.#watch;
    if (position === undefined) return { cursor: undefined, mayRepeat: false };
    if (this.#watch.isComplete) this.#completeAt = Date.now();
    const content = { position, installation: this.#installation, completeAt: this.#completeAt };
    return this.#options.hub.cursors.write(content, this.filter.key);
  }
}

class StoreReplaced extends Error {}
