/** What became of a reading, as far as its device was told. */
export type Fate = 'unsent' | 'open' | 'acked' | 'refused';

/** `invalid`: ingest-ws must refuse it; `poison`: it is accepted, and must be dead-lettered. */
export type Kind = 'storable' | 'invalid' | 'poison';

export interface JournalEntry {
  readonly seq: number;
  /** The reading as JSON, as it is sent. */
  readonly text: string;
  readonly kind: Kind;
  fate: Fate;
}

/**
 * Every reading of one device: entered before it is sent, with each answer of the server. It shares no code with the product or the simulated
 * fleet, so that a wrong reading of the protocol there does not hide a loss here.
 */
export class DeviceJournal {
  readonly deviceId: string;
  readonly epoch: string;
  readonly entries = new Map<number, JournalEntry>();
  /** Acks that cover a reading which was never sent, and other answers that the protocol does not allow. */
  readonly contradictions: string[] = [];
  #lastSeq = 0;
  readonly #unsettled = new Map<number, JournalEntry>();

  constructor(deviceId: string, epoch: string) {
    this.deviceId = deviceId;
    this.epoch = epoch;
  }

  /** Neither acknowledged nor refused, in the order of their numbers. */
  get unsettled(): Iterable<JournalEntry> {
    return this.#unsettled.values();
  }

  get unsettledCount(): number {
    return this.#unsettled.size;
  }

  enter(text: string, kind: Kind = 'storable'): JournalEntry {
    const seq = (this.#lastSeq += 1);
    const entry: JournalEntry = { seq, text, kind, fate: 'unsent' };
    this.entries.set(seq, entry);
    this.#unsettled.set(seq, entry);
    return entry;
  }

  attempted(entry: JournalEntry): void {
    if (entry.fate === 'unsent') entry.fate = 'open';
  }

  /**
   * The `lastSeq` of a hello covers everything that was sent with a number up to this one; an ack, only what was sent on its connection.
   * @returns the readings it settles
   */
  acknowledged(upTo: number, isSentHere: (seq: number) => boolean = () => true): JournalEntry[] {
    if (upTo > this.#lastSeq) this.contradictions.push(`acknowledged up to ${upTo}, but ${this.#lastSeq} is the last`);
    const settled: JournalEntry[] = [];
    for (const entry of this.#unsettled.values()) {
      if (entry.seq > upTo) break;
      if (entry.fate !== 'open' || !isSentHere(entry.seq)) continue;
      entry.fate = 'acked';
      settled.push(entry);
    }
    for (const { seq } of settled) this.#unsettled.delete(seq);
    return settled;
  }

  /** A nack that is not retryable. */
  refused(seq: number, count: number): void {
    for (let each = seq; each < seq + count; each += 1) {
      const entry = this.entries.get(each);
      if (entry === undefined || entry.fate === 'unsent')
        this.contradictions.push(`refused ${each}, which was not sent`);
      // Of a frame that was sent twice, the second answer changes nothing.
      else if (entry.fate === 'open') entry.fate = 'refused';
      else if (entry.fate === 'acked') this.contradictions.push(`refused ${each}, which was acknowledged before`);
      this.#unsettled.delete(each);
    }
  }

  numbers(fate: Fate): Set<number> {
    return this.#numbersWhere((entry) => entry.fate === fate);
  }

  numbersOfKind(kind: Kind): Set<number> {
    return this.#numbersWhere((entry) => entry.kind === kind);
  }

  #numbersWhere(matches: (entry: JournalEntry) => boolean): Set<number> {
    const found = new Set<number>();
    for (const entry of this.entries.values()) if (matches(entry)) found.add(entry.seq);
    return found;
  }
}
