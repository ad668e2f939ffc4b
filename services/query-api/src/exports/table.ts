/** What stands in a cell; undefined or null: nothing. A time is epoch milliseconds. */
export type Cell = unknown;

export interface Column {
  readonly name: string;
  /** `json`: any value, in formats with types as its JSON text. */
  readonly type: 'text' | 'time' | 'integer' | 'number' | 'boolean' | 'json';
}

/** Rows of one export, read once. */
export interface Table<Row> {
  /** Of the file: `readings`. */
  readonly name: string;
  /** Empty where the format has none. */
  readonly columns: readonly Column[];
  /** One row of cells, or several, in the order of the columns. */
  readonly cellsOf: (row: Row) => readonly (readonly Cell[])[];
  readonly documentOf: (row: Row) => object;
  /** In epoch milliseconds, as in `covers`. */
  readonly completeUntil: number | null;
  /** Rows that are expected, where that is known. */
  readonly estimatedRows?: number | undefined;
  /** Rows that were counted in the same snapshot; undefined where they were not. */
  readonly rowsMax?: number | undefined;
  read(take: (row: Row) => void): Promise<void>;
  /** Rows that are read already may still come. */
  pause(): void;
  resume(): void;
  /** Ends the reading, in Postgres too. */
  close(reason?: Error): void;
}

/** Writes rows in one format; nothing that it has written is complete before `end`. */
export interface Encoder<Row> {
  add(row: Row): void;
  /** @param rows that were added */
  end(rows: number): void;
}

export type Write = (chunk: Uint8Array) => void;

const textCharactersMax = 64 * 1024;

/** Gathers text until it is worth a write. */
export class TextWriter {
  readonly #write: Write;
  #text = '';

  constructor(write: Write) {
    this.#write = write;
  }

  add(text: string): void {
    this.#text += text;
    if (this.#text.length >= textCharactersMax) this.flush();
  }

  flush(): void {
    if (this.#text !== '') this.#write(Buffer.from(this.#text));
    this.#text = '';
  }
}

/** RFC 3339 to the millisecond. Neighbouring times share their minute, which is formatted once. */
export function timeFormatter(): (epochMs: number) => string {
  let minute = Number.NaN;
  let prefix = '';
  return (epochMs) => {
    const of = Math.floor(epochMs / 60_000);
    if (of !== minute) {
      minute = of;
      prefix = new Date(of * 60_000).toISOString().slice(0, -7);
    }
    const rest = epochMs - of * 60_000;
    return `${prefix}${String(100_000 + rest).slice(1, 3)}.${String(100_000 + rest).slice(3)}Z`;
  };
}
