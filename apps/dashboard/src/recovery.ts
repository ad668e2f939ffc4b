import type { LiveMessage, Subscription } from './live-messages.ts';

/** What became of what was missed while the live connection was lost. */
export type Verdict =
  /** Not all of it is here. */
  | 'reading'
  /** Every subscription went on where it was, and all that is stored since has come. */
  | 'resumed'
  /** The same, and an ingest instance has ended: what it had accepted last comes once it is stored. */
  | 'resumed-edge-ended'
  /** A position was not known to the server any more: the history was read from its beginning. */
  | 'read-again'
  /** Some of it does not come. */
  | 'missing'
  /** No subscription of the page holds readings one by one: it shows what is now. */
  | 'present';

/** A subscription of the page, as it was when the connection was lost. */
export interface Interrupted {
  readonly subscription: Subscription;
  readonly hasCursor: boolean;
}

/** Follows the subscriptions after the connection is back, until what was missed is dealt with. No I/O. */
export class Recovery {
  /** Epoch milliseconds. */
  readonly lostAt: number;
  readonly backAt: number;
  readonly #waiting = new Map<string, 'caught_up' | 'present'>();
  readonly #endedEdges = new Set<string>();
  readonly #resumed = new Set<string>();
  #isReadAgain = false;
  #isMissing = false;

  /** @param unfinished the recovery of an earlier break, which this one has interrupted */
  constructor(lostAt: number, backAt: number, interrupted: ReadonlyMap<string, Interrupted>, unfinished?: Recovery) {
    this.lostAt = unfinished === undefined ? lostAt : unfinished.lostAt;
    this.#isReadAgain = unfinished !== undefined && unfinished.#isReadAgain;
    this.#isMissing = unfinished !== undefined && unfinished.#isMissing;
    this.backAt = backAt;
    for (const [id, one] of interrupted) {
      if (isComplete(one.subscription)) {
        this.#waiting.set(id, 'caught_up');
        if (one.hasCursor) this.#resumed.add(id);
        else this.#beginAgain(one.subscription);
      } else if (tellsPresent(one.subscription)) this.#waiting.set(id, 'present');
    }
  }

  get verdict(): Verdict {
    if (this.#waiting.size > 0) return 'reading';
    if (this.#isMissing) return 'missing';
    if (this.#isReadAgain) return 'read-again';
    if (this.#resumed.size === 0) return 'present';
    return this.#endedEdges.size > 0 ? 'resumed-edge-ended' : 'resumed';
  }

  hear(message: LiveMessage): void {
    if (!('id' in message) || message.id === undefined) return;
    const { id } = message;
    const awaited = this.#waiting.get(id);
    if (awaited === undefined) return;
    if (message.type === 'pending' && message.reason === 'edge-ended') this.#endedEdges.add(id);
    // The server reads what has arrived since an expired cursor, as a history.
    if (message.type === 'gap' && message.reason === 'cursor-expired') this.#isReadAgain = true;
    if (message.type === 'gap' && message.reason === 'before-retention') this.#isMissing = true;
    if (message.type === 'unsubscribed') {
      if (message.reason !== 'requested') this.#isMissing = true;
      this.end(id);
    } else if (message.type === 'present' && awaited === 'present') this.#waiting.delete(id);
    else if (message.type === 'caught_up') {
      if (message.pendingId === undefined) this.#waiting.delete(id);
      else this.#endedEdges.delete(id);
    }
  }

  /** The server does not know the cursor any more: the subscription begins again. */
  loseCursor(subscription: Subscription): void {
    this.#beginAgain(subscription);
  }

  /** The page has ended the subscription. */
  end(id: string): void {
    this.#waiting.delete(id);
    this.#endedEdges.delete(id);
    this.#resumed.delete(id);
  }

  #beginAgain({ since }: Subscription): void {
    if (since === undefined) this.#isMissing = true;
    else this.#isReadAgain = true;
  }
}

function isComplete({ mode, since }: Subscription): boolean {
  return mode === 'complete' || (mode === undefined && since !== undefined);
}

function tellsPresent({ events }: Subscription): boolean {
  return events?.some((event) => event === 'presence' || event === 'registry') === true;
}
