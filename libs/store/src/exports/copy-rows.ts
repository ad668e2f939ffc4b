import type pg from 'pg';

/** The rows of one `COPY … TO STDOUT (FORMAT binary)`, given one by one while they arrive. Nothing of them is kept. */
export interface CopiedRows {
  /** Resolves when all rows were taken. */
  readonly done: Promise<void>;
  /** Stops reading from the socket; rows that have been received already still arrive. */
  pause(): void;
  resume(): void;
}

/** Members of pg's connection that its types leave out. */
interface Connection {
  readonly stream: { pause(): void; resume(): void; destroy(error?: Error): void };
  query(text: string): void;
}

const header = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
const headerBytes = header.length + 8;
const trailerFields = -1;

/**
 * Starts the statement on this client. Postgres sends each row as a message of its own, so that no row has to be put together.
 * @param take gets the fields of a row in a buffer that is only valid until it returns, and where they begin
 */
export function copyRows(
  client: pg.ClientBase,
  select: string,
  take: (row: Buffer, offset: number) => void,
): CopiedRows {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let connection: Connection | undefined;
  let isFirst = true;
  const query = {
    /** pg replaces it by its own, which ends the timer of `query_timeout`. */
    callback: (error: Error | null) => (error === null ? resolve() : reject(error)),
    submit: (of: unknown) => {
      connection = of as Connection;
      connection.query(`copy (${select}) to stdout (format binary)`);
    },
    handleCopyData: ({ chunk }: { readonly chunk: Buffer }) => {
      try {
        let offset = 0;
        if (isFirst) {
          if (!chunk.subarray(0, header.length).equals(header)) throw new Error('not the binary format of COPY');
          offset = headerBytes;
          isFirst = false;
        }
        if (offset < chunk.length && chunk.readInt16BE(offset) !== trailerFields) take(chunk, offset + 2);
      } catch (error) {
        // In a listener of the socket: thrown, it would end the process.
        reject(error);
        connection?.stream.destroy();
      }
    },
    handleCommandComplete: () => {},
    handleReadyForQuery: () => query.callback(null),
    handleError: (error: Error) => query.callback(error),
  };
  promise.catch(() => {});
  client.query(query as unknown as pg.Submittable);
  return { done: promise, pause: () => connection?.stream.pause(), resume: () => connection?.stream.resume() };
}

/** Reads the fields of one row, one after the other. A null is undefined. */
export class RowReader {
  #row: Buffer = Buffer.alloc(0);
  #at = 0;

  open(row: Buffer, offset: number): void {
    this.#row = row;
    this.#at = offset;
  }

  /** int2, int4 */
  integer(): number {
    const bytes = this.#length();
    this.#at += bytes;
    return this.#row.readIntBE(this.#at - bytes, bytes);
  }

  /** int8, exact up to 2^53. */
  bigInteger(): number {
    this.#at += 12;
    return this.#row.readInt32BE(this.#at - 8) * 0x1_0000_0000 + this.#row.readUInt32BE(this.#at - 4);
  }

  /** timestamptz, as epoch milliseconds: Postgres counts microseconds from 2000. */
  time(): number {
    return Math.floor(this.bigInteger() / 1_000) + epochOfPostgresMs;
  }

  /** float8[] of one dimension without nulls. */
  numbers(): number[] {
    const row = this.#row;
    const bytes = this.#length();
    let at = this.#at;
    this.#at += bytes;
    if (row.readInt32BE(at) === 0) return [];
    const count = row.readInt32BE(at + 12);
    const numbers: number[] = [];
    at += arrayHeaderBytes;
    for (let index = 0; index < count; index += 1, at += 12) numbers.push(row.readDoubleBE(at + 4));
    return numbers;
  }

  text(): string {
    const bytes = this.#length();
    this.#at += bytes;
    return this.#row.toString('utf8', this.#at - bytes, this.#at);
  }

  /** jsonb, whose version stands before its text. */
  json(): unknown {
    const bytes = this.#length();
    if (bytes < 0) return undefined;
    this.#at += bytes;
    return JSON.parse(this.#row.toString('utf8', this.#at - bytes + 1, this.#at));
  }

  #length(): number {
    this.#at += 4;
    return this.#row.readInt32BE(this.#at - 4);
  }
}

const epochOfPostgresMs = Date.UTC(2000, 0, 1);
/** Dimensions, flags, type of the elements, then length and lower bound of the only dimension. */
const arrayHeaderBytes = 20;
