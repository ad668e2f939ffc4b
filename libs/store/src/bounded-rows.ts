import { type Expression, type RawBuilder, sql } from 'kysely';
import type pg from 'pg';
import { fetchRows } from './cancellable.ts';
import type { Database } from './database.ts';

/** Bounds on one page of rows. The row with which a bound is exceeded is returned as well: it shows that another page follows. */
export interface PageBounds {
  readonly limit: number;
  readonly bytesMax?: number | undefined;
  /** Called with the bytes of the rows that have just been read; may throw to refuse them. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/** A row with about the size that it has as JSON. */
interface Sized {
  readonly bytes: number;
}

/** Most bytes of one statement's rows, so that a process never holds many rows that it has not counted. */
export const chunkBytesMax = 2 * 1024 * 1024;

/**
 * How many stored bytes one statement looks at. The size of a value as text is known only once it is decompressed and written out, which
 * costs Postgres time for each row, also for rows that do not fit. pglz compresses at most 87-fold.
 */
const storedBytesMax = 1024 * 1024;

/** Reads rows in chunks until `limit` or `bytesMax` is reached. `fetch` reads one chunk of rows that follow `last`. */
export async function collectRows<T extends Sized>(
  { limit, bytesMax = Number.MAX_SAFE_INTEGER, onBytes }: PageBounds,
  fetch: (bounds: { limit: number; bytesMax: number }, last: T | undefined) => Promise<Chunk<T>>,
): Promise<T[]> {
  const rows: T[] = [];
  let bytes = 0;
  for (;;) {
    const remaining = Math.max(0, bytesMax - bytes);
    const chunk = await fetch(
      { limit: limit - rows.length, bytesMax: Math.min(remaining, chunkBytesMax) },
      rows.at(-1),
    );
    const before = bytes;
    for (const row of chunk.rows) {
      rows.push(row);
      bytes += row.bytes;
      if (bytes > bytesMax && rows.length > 1) break;
    }
    onBytes?.(bytes - before);
    const isFull = rows.length >= limit || (bytes > bytesMax && rows.length > 1);
    if (isFull || !chunk.isCut) return rows;
  }
}

interface Chunk<T> {
  readonly rows: readonly T[];
  /** More rows follow that are within the limit in rows. */
  readonly isCut: boolean;
}

/** Rows that are sent as they are, with their size as JSON. */
export function sized<Row extends object>({ rows, isCut }: Chunk<Row>): Chunk<Row & Sized> {
  return { rows: rows.map((row) => ({ ...row, bytes: Buffer.byteLength(JSON.stringify(row)) })), isCut };
}

/**
 * Runs an ordered query with a limit in rows, and ends after the row with which its values exceed `bytesMax` as text.
 * @param options.documents columns of JSON or text, which may be compressed
 * @param options.numbers columns of float8[]
 */
export async function fetchUpTo<Row>(
  { db, pool }: Database,
  query: Expression<Row>,
  options: {
    readonly documents: readonly string[];
    readonly numbers?: readonly string[];
    readonly bytesMax: number;
    readonly signal: AbortSignal | undefined;
    /** In whose transaction; without it, on any connection. */
    readonly client?: pg.PoolClient;
  },
): Promise<Chunk<Row>> {
  const { documents, numbers = [], bytesMax, signal, client } = options;
  const column = (name: string) => sql`q.${sql.ref(name)}`;
  const total = (sizes: RawBuilder<unknown>[]) =>
    sql.join(
      sizes.map((size) => sql`coalesce(${size}, 0)`),
      sql` + `,
    );
  const storedBytes = total(documents.map((name) => sql`pg_column_size(${column(name)})`));
  const textBytes = total([
    ...documents.map((name) => sql`octet_length(${column(name)}::text)`),
    // A float8 has 8 bytes, and at most 24 as text.
    ...numbers.map((name) => sql`3 * pg_column_size(${column(name)})`),
  ]);
  const rowsBefore = sql`over (rows between unbounded preceding and 1 preceding)`;
  type Bounded = Row & { readonly is_followed: boolean | null };
  const bounded = sql<Bounded>`
    select * from (
      select q.*, sum(${textBytes}) ${rowsBefore} as text_before from (
        select q.*, sum(${storedBytes}) ${rowsBefore} as stored_before, lead(true) over () as is_followed
        from ${query} as q
      ) as q where coalesce(stored_before, 0) <= ${storedBytesMax}
    ) as q where coalesce(text_before, 0) <= ${bytesMax}`;
  const compiled = bounded.compile(db);
  const rows =
    client === undefined
      ? await fetchRows(pool, compiled, signal)
      : ((await client.query(compiled.sql, [...compiled.parameters])).rows as Bounded[]);
  return { rows, isCut: rows.at(-1)?.is_followed === true };
}
