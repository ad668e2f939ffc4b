import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { freshStore, open } from './fixture.ts';
import { day, reading } from './reading.ts';

const { database, databaseUrl } = await freshStore();
const asRole = open(databaseUrl, { pipelined: false, poolMax: 1 });
const page = readFileSync(new URL('../../../docs/sql.md', import.meta.url), 'utf8');
const examples = [...page.matchAll(/```sql\n([^]*?)```/g)].map(([, text]) => text!.trim());
const now = Date.now();
const partitions = 9;
let client: pg.PoolClient;

beforeAll(async () => {
  const writer = createBatchWriter(database.pool);
  const readings = Array.from({ length: partitions * 40 }, (_, seq) =>
    reading({
      deviceId: `press-${(seq % 4) + 5}`,
      seq,
      ts: now - Math.floor(seq / 40) * 7 * day - (seq % 40) * 60_000,
      metrics: { temperature: seq, state: seq % 3 === 0 ? 'on' : 'off', open: true, place: { floor: 2 } },
    }),
  );
  await writer.write(readings);
  await database.pool.query(`update devices set tags = '{site:north}', name = 'Press' where device_id = 'press-7'`);
  await database.pool.query('analyze');
  client = await asRole.pool.connect();
  await client.query('set role fleetwire_sql');
});
afterAll(() => client.release());

/** The partitions that a statement reads. Conditions on now() are applied when it begins. */
async function partitionsRead(statement: string): Promise<number> {
  const { rows } = await database.pool.query<Record<'QUERY PLAN', string>>(
    `explain (analyze, timing off) ${statement}`,
  );
  const lines = rows.map((row) => row['QUERY PLAN']);
  return new Set(
    lines.flatMap((line) =>
      [...line.matchAll(/ on (readings_\w+?)(?:_device_key_ts_idx|_received_at_idx)? /g)].map(([, name]) => name),
    ),
  ).size;
}

describe('the role for SQL', () => {
  it('reads the views and nothing else', async () => {
    for (const view of ['readings', 'values', 'devices'])
      expect((await client.query(`select from api_v1.${view} limit 1`)).rowCount, view).toBe(1);
    for (const statement of [
      'select from public.readings',
      'select from public.dead_letters',
      'create table api_v1.mine ()',
      `update public.devices set name = ''`,
    ])
      await expect(client.query(statement), statement).rejects.toMatchObject({ code: '42501' });
  });

  it('can be taken on by a connection of another user, as in the line that npm start prints', async () => {
    const other = new pg.Client(`${databaseUrl}?options=-c%20role%3Dfleetwire_sql%20-c%20search_path%3Dapi_v1`);
    await other.connect();
    try {
      expect((await other.query('select from devices')).rowCount).toBeGreaterThan(3);
      await expect(other.query('select from public.devices')).rejects.toMatchObject({ code: '42501' });
    } finally {
      await other.end();
    }
  });

  it('may not log in until it is allowed to, and has its limits', async () => {
    const { rows } = await database.pool.query(
      `select rolcanlogin, rolsuper, rolconnlimit, array_to_string(rolconfig, ' ') as config from pg_roles where rolname = 'fleetwire_sql'`,
    );
    expect(rows[0]).toEqual({
      rolcanlogin: false,
      rolsuper: false,
      rolconnlimit: 8,
      config:
        'default_transaction_read_only=on statement_timeout=60s idle_in_transaction_session_timeout=60s search_path=api_v1',
    });
  });
});

describe('the views for SQL', () => {
  it('show readings, values of every type and devices, and say what they are', async () => {
    const range = `ts > now() - interval '1 day'`;
    const { rows: readings } = await client.query(
      `select device_id, epoch, seq, metrics, is_ahead from api_v1.readings where seq = 2 and ${range}`,
    );
    expect(readings).toEqual([
      {
        device_id: 'press-7',
        epoch: 'boot-1',
        seq: 2,
        is_ahead: false,
        metrics: { temperature: 2, state: 'off', open: true, place: { floor: 2 } },
      },
    ]);
    const { rows: values } = await client.query(
      `select metric, value, value_text, value_bool, value_json from api_v1.values where seq = 2 and ${range} order by metric`,
    );
    const none = { value: null, value_text: null, value_bool: null, value_json: null };
    expect(values).toEqual([
      { ...none, metric: 'open', value_bool: true },
      { ...none, metric: 'place', value_json: { floor: 2 } },
      { ...none, metric: 'state', value_text: 'off' },
      { ...none, metric: 'temperature', value: 2 },
    ]);
    const { rows: devices } = await client.query(
      `select name, tags, status from api_v1.devices where device_id = 'press-7'`,
    );
    expect(devices).toEqual([{ name: 'Press', tags: ['site:north'], status: 'active' }]);
    const { rows: uncommented } = await database.pool.query(
      `select relname from pg_class where relnamespace = 'api_v1'::regnamespace and obj_description(oid) is null`,
    );
    expect(uncommented).toEqual([]);
  });

  it('show numbers of readings without a shape of their own', async () => {
    const writer = createBatchWriter(database.pool, { shapesMax: 1 });
    await writer.write([reading({ deviceId: 'odd', ts: now, metrics: { strange: 2.5, text: '7' } })]);
    const { rows } = await client.query(
      `select metric, value, value_text from api_v1.values where device_id = 'odd' and ts > now() - interval '1 day' order by metric`,
    );
    expect(rows).toEqual([
      { metric: 'strange', value: 2.5, value_text: null },
      { metric: 'text', value: null, value_text: '7' },
    ]);
  });

  it.each(examples.map((text) => [text.split('\n')[0]!, text]))('docs/sql.md: %s', async (_title, example) => {
    expect((await client.query(example)).command).toBe('SELECT');
    if (example.includes(' ts ') || example.includes('.ts '))
      expect(await partitionsRead(example)).toBeLessThanOrEqual(3);
  });

  it('read every partition where no range of time is named', async () => {
    expect(await partitionsRead('select count(*) from api_v1.readings')).toBeGreaterThanOrEqual(partitions);
    expect(examples.length).toBeGreaterThan(5);
  });
});
