import pg from 'pg';
import { inject } from 'vitest';

export interface HeldTable extends AsyncDisposable {
  release(): Promise<void>;
}

/** Statements that read or write the table wait until it is released: a state that otherwise lasts milliseconds can be tested. */
export async function holdTable(table: 'shapes' | 'readings'): Promise<HeldTable> {
  const client = new pg.Client({ connectionString: inject('databaseUrl') });
  await client.connect();
  await client.query(`begin; lock table ${table} in access exclusive mode`);
  let isHeld = true;
  const release = async () => {
    if (isHeld) await client.end();
    isHeld = false;
  };
  return { release, [Symbol.asyncDispose]: release };
}
