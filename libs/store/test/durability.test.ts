import { describe, expect, it } from 'vitest';
import { freshStore, open } from './fixture.ts';

/** What `show synchronous_commit` says in a new session, and in a transaction of it, when its role and database are set to `value`. */
async function sessionsWhere(value: string): Promise<string[]> {
  const { database, databaseUrl } = await freshStore();
  const name = new URL(databaseUrl).pathname.slice(1);
  await database.pool.query(`alter role current_user in database "${name}" set synchronous_commit = ${value}`);
  const { pool } = open(databaseUrl, { poolMax: 1 });
  const client = await pool.connect();
  const shown: string[] = [];
  for (const statement of ['select', 'begin', 'select', 'commit']) {
    await client.query(statement);
    const { rows } = await client.query<{ synchronous_commit: string }>('show synchronous_commit');
    shown.push(rows[0]!.synchronous_commit);
  }
  client.release();
  return [...new Set(shown)];
}

describe('a session that writes', () => {
  it.each(['off', 'local'])(
    'waits for the flush of each commit although its role is set to synchronous_commit = %s',
    async (value) => {
      expect(await sessionsWhere(value)).toEqual(['on']);
    },
  );

  it.each(['remote_write', 'remote_apply'])(
    'keeps synchronous_commit = %s, which waits for a standby too',
    async (value) => {
      expect(await sessionsWhere(value)).toEqual([value]);
    },
  );
});

// On servers that have it, which ours of npm is not, compiling the statement of GET /changes took two seconds for each page.
it('a session does not compile its statements, also where its role is set to jit = on', async () => {
  const { database, databaseUrl } = await freshStore();
  await database.pool.query(
    `alter role current_user in database "${new URL(databaseUrl).pathname.slice(1)}" set jit = on`,
  );
  for (const readOnly of [false, true]) {
    const { rows } = await open(databaseUrl, { readOnly }).pool.query('show jit');
    expect(rows).toEqual([{ jit: 'off' }]);
  }
});
