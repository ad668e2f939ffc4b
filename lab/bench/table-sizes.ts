import pg from 'pg';

/** The size of one table on disk. */
export interface TableSize {
  readonly table: string;
  /** Rows, with the free space map and the visibility map. */
  readonly heapBytes: number;
  readonly toastBytes: number;
  readonly indexBytes: number;
}

/** All tables of the platform after a checkpoint, the largest first, without WAL and system catalogs. */
export async function tableSizes(databaseUrl: string): Promise<TableSize[]> {
  await query(databaseUrl, 'checkpoint');
  return query<TableSize>(
    databaseUrl,
    `select relname as table,
        (pg_table_size(oid) - coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0))::float8 as "heapBytes",
        coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0)::float8 as "toastBytes",
        pg_indexes_size(oid)::float8 as "indexBytes"
      from pg_class
      where relkind = 'r' and relnamespace = (select relnamespace from pg_class where oid = 'readings'::regclass)
      order by pg_total_relation_size(oid) desc`,
  );
}

/** The server's data directory, on its own machine. */
export async function dataDirectory(databaseUrl: string): Promise<string> {
  const [row] = await query<{ data_directory: string }>(databaseUrl, 'show data_directory');
  return row!.data_directory;
}

export function bytesOf({ heapBytes, toastBytes, indexBytes }: TableSize): number {
  return heapBytes + toastBytes + indexBytes;
}

async function query<Row extends object>(databaseUrl: string, text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}
