import { RangeSet } from '@fleetwire/contracts/range-set';

export type PendingReason = 'not-stored-yet' | 'history-unavailable' | 'edge-ended';
export type GapReason = 'broker-reconnected' | 'instance-overloaded' | 'slow-watcher';
/** Of a cursor or time of the past: told at the beginning, and not found by the numbers of messages. */
type PastGapReason = 'cursor-expired' | 'before-retention';

/** What a watcher is told beside readings. Times are epoch milliseconds. */
export type Notice =
  | { type: 'pending'; pendingId: string; reason: PendingReason; acceptedBefore: number; envelopes: number | null }
  | {
      type: 'gap';
      gapId: string;
      reason: GapReason | PastGapReason;
      from: number;
      to: number;
      /** Null: not known. */
      envelopes: number | null;
      /** The earliest time of which readings are kept; then the gap is never filled. */
      earliest?: number;
    }
  | { type: 'gap_filled'; gapId: string; readings: number }
  | { type: 'caught_up'; pendingId?: string; readings: number };

export type Kind =
  | { readonly type: 'pending'; readonly reason: PendingReason }
  | { readonly type: 'gap'; readonly reason: GapReason };

interface Open {
  readonly kind: Kind;
  readonly id: string;
  readonly from: number;
  to: number;
  readonly extent: Map<string, RangeSet>;
  readings: number;
  isTold: boolean;
}

/**
 * The open `pending` and `gap` of one subscription, at most one for each reason: what is found missing for the same reason extends it, and
 * the watcher hears it again under its id.
 */
export class Notices {
  readonly #tell: (notice: Notice) => void;
  readonly #open = new Map<string, Open>();
  #count = 0;

  constructor(tell: (notice: Notice) => void) {
    this.#tell = tell;
  }

  /** Whether anything but the end of an edge is open. */
  get areOpen(): boolean {
    return this.#open.size > (this.#open.has('pending edge-ended') ? 1 : 0);
  }

  /** @param numbers of an edge that are missing; none for a reason that is not about numbers */
  add(kind: Kind, from: number, to: number, numbers?: { edge: string; first: number; last: number }): void {
    const key = `${kind.type} ${kind.reason}`;
    let open = this.#open.get(key);
    if (open === undefined) {
      this.#count += 1;
      const id = `${kind.type === 'gap' ? 'g' : 'p'}${this.#count}`;
      open = { kind, id, from, to, extent: new Map(), readings: 0, isTold: false };
      this.#open.set(key, open);
    } else if (numbers === undefined) return;
    open.to = to;
    if (numbers === undefined) return;
    const extent = open.extent.get(numbers.edge) ?? new RangeSet();
    if (extent.add(numbers.first, numbers.last) > 0) open.isTold = false;
    open.extent.set(numbers.edge, extent);
  }

  /** Tells what the watcher has not heard yet. */
  tell(): void {
    for (const open of this.#open.values()) {
      if (open.isTold) continue;
      open.isTold = true;
      const envelopes = [...open.extent.values()].reduce((sum, { size }) => sum + size, 0);
      const { id, from, to, kind } = open;
      this.#tell(
        kind.type === 'gap'
          ? { type: 'gap', gapId: id, reason: kind.reason, from, to, envelopes }
          : {
              type: 'pending',
              pendingId: id,
              reason: kind.reason,
              acceptedBefore: to,
              envelopes: open.extent.size === 0 ? null : envelopes,
            },
      );
    }
  }

  countFilled(readings: number): void {
    for (const open of this.#open.values()) open.readings += readings;
  }

  /** The numbers are dealt with; what has no numbers left is over. */
  settle(edge: string, numbers: RangeSet): void {
    for (const open of this.#open.values()) {
      const extent = open.extent.get(edge);
      if (extent === undefined) continue;
      const rest = extent.minus(numbers);
      if (rest.size > 0) open.extent.set(edge, rest);
      else open.extent.delete(edge);
      if (open.extent.size === 0) this.#close(open);
    }
  }

  end(reason: PendingReason): void {
    const open = this.#open.get(`pending ${reason}`);
    if (open !== undefined) this.#close(open);
  }

  #close({ kind, id, readings, isTold }: Open): void {
    this.#open.delete(`${kind.type} ${kind.reason}`);
    if (!isTold) return;
    this.#tell(
      kind.type === 'gap'
        ? { type: 'gap_filled', gapId: id, readings }
        : { type: 'caught_up', pendingId: id, readings },
    );
  }
}
