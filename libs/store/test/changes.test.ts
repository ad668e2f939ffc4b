import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { ChangesLostError, readChangesStore, snapshotBefore } from '../src/changes/changes-store.ts';
import {
  beginChanges,
  type Change,
  type ChangesFilter,
  type ChangesPosition,
  changesAfter,
} from '../src/changes/read-changes.ts';
import { spansOf, storingTransactions } from '../src/changes/storing-transactions.ts';
import { deletePositions } from '../src/positions/edges.ts';
import { timesOf } from '../src/positions/settled-envelope.ts';
import { freshStore, open } from './fixture.ts';
import { day, monday, reading, run, second } from './reading.ts';

const { database, databaseUrl } = await freshStore();
const reader = open(databaseUrl, { pipelined: false, poolMax: 2, readOnly: true });
const writer = createBatchWriter(database.pool);

interface Followed {
  readonly changes: Change[];
  readonly pages: number;
  readonly position: ChangesPosition;
}

/** Reads pages until one is complete. */
async function follow(start: ChangesPosition, limit: number, filter: ChangesFilter = {}): Promise<Followed> {
  const changes: Change[] = [];
  let position = start;
  for (let pages = 1; ; pages += 1) {
    const page = await changesAfter(reader, { position, filter, limit, msMax: 60_000 });
    changes.push(...page.changes);
    ({ position } = page);
    if (page.isComplete) return { changes, pages, position };
  }
}

const identity = ({ deviceId, epoch, seq }: Change): string => `${deviceId}/${epoch}/${seq}`;

async function stored(): Promise<string[]> {
  const { rows } = await database.pool.query<Change>(`
    select device_id as "deviceId", epoch, seq from readings join streams using (stream_key, device_key) join devices using (device_key)`);
  return rows.map(identity).sort();
}

describe('changes', () => {
  it('are every reading that was committed since, in pages, whatever its time; then none until more are written', async () => {
    const start = await beginChanges(reader, {});
    expect((await follow(start, 10)).changes).toEqual([]);
    await writer.write(run(0, 5));
    await writer.write([...run(5, 8), reading({ seq: 8, ts: monday - 400 * day, metrics: { state: 'late' } })]);
    const { changes, pages, position } = await follow(start, 3);
    expect(pages).toBe(5);
    expect(changes.map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(changes[8]).toEqual({ ...reading({ seq: 8, ts: monday - 400 * day, metrics: { state: 'late' } }) });
    expect((await follow(position, 3)).changes).toEqual([]);
    await writer.write(run(0, 10));
    expect((await follow(position, 3)).changes.map(({ seq }) => seq)).toEqual([9]);
  });

  it('are found where an envelope, a half of one and a replayed dead letter are stored in one transaction', async () => {
    const { position } = await follow(await beginChanges(reader, {}), 100);
    const whole = run(0, 3, { deviceId: 'mixed', receivedAt: monday });
    const half = run(3, 5, { deviceId: 'mixed', receivedAt: monday + 5 * second });
    const replayed = run(5, 7, { deviceId: 'mixed', receivedAt: monday - 20 * day, ts: monday - 20 * day });
    await writer.write([...whole, ...half, ...replayed], 'repeat', [
      { position: { instanceId: 'edge', number: 1, part: '' }, times: timesOf(whole) },
    ]);
    const { rows } = await database.pool.query<{ edge_key: number; received_min: number; received_max: number }>(
      `select edge_key, received_min, received_max from envelopes where xid = (select max(xid) from envelopes) order by received_min`,
    );
    expect(rows.map((row) => [row.edge_key > 0, row.received_max - row.received_min])).toEqual([
      [false, 0],
      [true, 0],
      [false, 0],
    ]);
    expect((await follow(position, 2)).changes.map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it('of dead letters that arrived hours apart and are replayed in one transaction are found without what arrived in between', async () => {
    const { position } = await follow(await beginChanges(reader, {}), 100);
    const letters = Array.from({ length: 80 }, (_, seq) =>
      reading({
        deviceId: 'replayed',
        seq,
        ts: monday - (seq % 5) * 10 * day,
        receivedAt: monday - seq * 9 * 3_600 * second,
      }),
    );
    await writer.write([...letters, ...letters.map((one) => ({ ...one, deviceId: 'replayed-too' }))], 'repeat');
    await writer.write(run(80, 83, { deviceId: 'replayed' }));
    const { done: snapshot } = await beginChanges(reader, {});
    const rows = await storingTransactions(reader.pool, { done: position.done, snapshot, from: 0, count: 8 });
    const { spans, count } = spansOf(rows);
    expect([spans.length, count]).toEqual([80, 80]);
    expect(spans.filter(({ receivedMin, receivedMax }) => receivedMax > receivedMin)).toEqual([]);

    const { changes, pages } = await follow(position, 50);
    expect(pages).toBe(5);
    expect(changes.slice(0, 160).map(({ seq }) => seq)).toEqual([...letters, ...letters].map(({ seq }) => seq));
    expect(new Set(changes.map(identity)).size).toBe(163);
    expect(changes).toHaveLength(163);
  });

  it('can be of some devices and metrics only', async () => {
    const start = await beginChanges(reader, {});
    await writer.write([
      reading({ deviceId: 'press-1', metrics: { pressure: 1, state: 'on' } }),
      reading({ deviceId: 'press-2', metrics: { speed: 1 } }),
      reading({ deviceId: 'valve-1', metrics: { pressure: 2 } }),
    ]);
    const of = async (filter: ChangesFilter) =>
      (await follow(start, 10, filter)).changes.map(({ deviceId, metrics }) => [deviceId, metrics]);
    expect(await of({ pattern: 'press-*', metrics: ['pressure'] })).toEqual([['press-1', { pressure: 1 }]]);
    expect(await of({ devices: ['valve-1'] })).toEqual([['valve-1', { pressure: 2 }]]);
    expect(await of({ tag: 'site:north' })).toEqual([]);
  });

  it('are all of a time on, with what the same transactions stored before', async () => {
    const since = Date.now();
    const { changes } = await follow(await beginChanges(reader, { since }), 100);
    expect(changes).toEqual([]);
    await writer.write(run(0, 4, { deviceId: 'later' }));
    expect((await follow(await beginChanges(reader, { since }), 100)).changes).toHaveLength(4);
  });

  it('are all of a time of months ago on, found without a look at all that was stored since', async () => {
    const { database: busy } = await freshStore();
    const transactions = 30_000;
    const start = Date.UTC(2026, 0, 1);
    const client = await busy.pool.connect();
    try {
      // Each in a transaction of its own, a second apart; some began an hour before they wrote.
      await client.query('set synchronous_commit = off');
      await client.query(`do $$ begin for n in 1..${transactions} loop
        insert into envelopes (edge_key, first, last, settled_at)
          values (0, n, n, to_timestamp(${start / 1_000} + n - case when n % 50 = 0 then 3600 else 0 end));
        commit;
      end loop; end $$`);
      await client.query('vacuum analyze envelopes');
      await client.query(`update changes_kept set from_time = '2025-01-01'`);
      const rowsRead = async () => {
        const { rows } = await client.query<{ read: number }>(
          `select seq_tup_read + idx_tup_fetch as read from pg_stat_xact_user_tables where relname = 'envelopes'`,
        );
        return rows[0]!.read;
      };
      const looked = async (time: number) => {
        await client.query('begin isolation level repeatable read, read only; set local enable_seqscan = off');
        const store = await readChangesStore(client);
        const readBefore = await rowsRead();
        const done = await snapshotBefore(client, store, time);
        const read = (await rowsRead()) - readBefore;
        const { rows: all } = await client.query<{ xid: number }>(
          'select min(xid::text::int8) as xid from envelopes where settled_at >= $1',
          [new Date(time).toISOString()],
        );
        await client.query('rollback');
        return { xmax: Number(done.split(':')[1]), first: all[0]!.xid, read };
      };
      for (const share of [0.2, 0.25]) {
        const { xmax, first, read } = await looked(start + share * transactions * second);
        expect(xmax).toBe(first);
        expect(read).toBeLessThan(17_000);
      }
      // Near the first of all, nothing proves that none is missing but a look at all.
      const { xmax, first } = await looked(start + 60 * second);
      expect(xmax).toBe(first);
    } finally {
      client.release();
    }
  });

  it('are of a transaction, too, that is open when a later one was stored since that time', async () => {
    await writer.write([reading({ deviceId: 'held' })]);
    const lock = await database.pool.connect();
    await lock.query('begin');
    await lock.query(
      `select from device_latest join devices using (device_key) where device_id = 'held' for update of device_latest`,
    );
    const { rows } = await database.pool.query<{ now: number }>('select clock_timestamp() as now');
    const { pool } = open(databaseUrl, { poolMax: 1, applicationName: 'held-writer' });
    const held = createBatchWriter(pool).write(run(1, 4, { deviceId: 'held' }));
    await eventually(async () => {
      const waiting = `select from pg_stat_activity where application_name = 'held-writer' and wait_event_type = 'Lock'`;
      expect((await database.pool.query(waiting)).rowCount).toBe(1);
    });
    await writer.write(run(0, 2, { deviceId: 'sooner' }));
    const start = await beginChanges(reader, { since: rows[0]!.now });
    const ofSooner = await follow(start, 100);
    expect(ofSooner.changes.map(identity)).toEqual(['sooner/boot-1/0', 'sooner/boot-1/1']);
    await lock.query('commit');
    lock.release();
    await held;
    const all = ['sooner/boot-1/0', 'sooner/boot-1/1', 'held/boot-1/1', 'held/boot-1/2', 'held/boot-1/3'];
    expect((await follow(start, 100)).changes.map(identity).sort()).toEqual(all.toSorted());
    expect((await follow(ofSooner.position, 100)).changes).toHaveLength(3);
  });

  it('end a page early where its time is over, and go on with the next', async () => {
    const start = await beginChanges(reader, {});
    for (let batch = 0; batch < 30; batch += 1) await writer.write(run(batch, batch + 1, { deviceId: 'slow-page' }));
    const seqs: number[] = [];
    let position = start;
    let pages = 0;
    for (let isComplete = false; !isComplete; pages += 1) {
      const page = await changesAfter(reader, { position, filter: {}, limit: 100, msMax: 0 });
      seqs.push(...page.changes.map(({ seq }) => seq));
      ({ position, isComplete } = page);
    }
    expect(seqs).toEqual(Array.from({ length: 30 }, (_, seq) => seq));
    expect(pages).toBeGreaterThan(3);
  });
});

/** Postgres has no such character: the transaction is rolled back after rows were inserted. */
const refused = { text: '\u0000' };
/** The size of the issue is a minute: `CHANGES_SECONDS=60 npm test -- libs/store/test/changes`. */
const seconds = Number(process.env['CHANGES_SECONDS'] ?? 3);

it(
  `a reader has each reading once while eight writers write, roll back, are killed, and one stays open (${seconds} s)`,
  { timeout: (seconds + 120) * 1_000 },
  async () => {
    const { position: start } = await follow(await beginChanges(reader, {}), 5_000);
    const before = new Set(await stored());
    const seen: string[] = [];
    let position = start;
    const over = new AbortController();
    const endsAt = Date.now() + seconds * 1_000;

    const writers = Array.from({ length: 7 }, async (_, who) => {
      const { pool } = open(databaseUrl, { poolMax: 1, applicationName: `changes-writer-${who}` });
      const one = createBatchWriter(pool);
      let random = who + 1;
      const next = (below: number): number => {
        random = (random * 48_271) % 2_147_483_647;
        return random % below;
      };
      for (let seq = 0; Date.now() < endsAt;) {
        const count = 1 + next(40);
        const lateMs = next(5) === 0 ? next(60) * day : 0;
        const batch = run(seq, seq + count, {
          deviceId: `of-${who}`,
          ts: monday - lateMs + seq,
          receivedAt: Date.now(),
        });
        if (next(6) === 0)
          await one
            .write([...batch, reading({ deviceId: `of-${who}`, seq: seq + count, metrics: refused })])
            .catch(() => {});
        while (!(await one.write(batch).catch(() => undefined)));
        seq += count;
      }
    });
    const killer = (async () => {
      while (Date.now() < endsAt)
        await database.pool.query(
          `select pg_terminate_backend(pid), pg_sleep(0.3) from pg_stat_activity where application_name like 'changes-writer-%' order by random() limit 1`,
        );
    })();
    // Its rows are inserted, and its transaction waits for the lock of another session until the end.
    await writer.write([reading({ deviceId: 'long', seq: 0, receivedAt: Date.now() })]);
    const lock = await database.pool.connect();
    await lock.query('begin');
    await lock.query(
      `select from device_latest join devices using (device_key) where device_id = 'long' for update of device_latest`,
    );
    const patient = { poolMax: 1, statementTimeoutMs: (seconds + 120) * 1_000 };
    const long = createBatchWriter(open(databaseUrl, patient).pool).write(run(1, 30, { deviceId: 'long' }));
    const polling = (async () => {
      while (!over.signal.aborted) {
        const page = await changesAfter(reader, { position, filter: {}, limit: 1_000, msMax: 1_000 });
        seen.push(...page.changes.map(identity));
        ({ position } = page);
      }
    })();
    await Promise.all([...writers, killer]);
    // All but the 30 of the open transaction: it does not hold the others back.
    await eventually(async () => expect(seen).toHaveLength((await stored()).length - before.size));
    await lock.query('commit');
    lock.release();
    await long;
    over.abort();
    await polling;
    for (const change of (await follow(position, 1_000)).changes) seen.push(identity(change));

    const now = (await stored()).filter((one) => !before.has(one));
    expect(seen.length).toBe(new Set(seen).size);
    expect(seen.sort()).toEqual(now);
    expect(now.filter((one) => one.startsWith('long/'))).toHaveLength(30);
  },
);

describe('changes are refused', () => {
  const refusal = async (position: ChangesPosition): Promise<string> =>
    changesAfter(reader, { position, filter: {}, limit: 1, msMax: 1_000 }).then(
      () => 'accepted',
      (error: unknown) => (error as ChangesLostError).reason,
    );

  it('after the transactions that follow were deleted, and for a time before that', async () => {
    const place = await beginChanges(reader, {});
    await writer.write(run(0, 2, { deviceId: 'deleted' }));
    await eventually(async () => {
      await deletePositions(database.pool, 0);
      expect((await database.pool.query('select from envelopes')).rowCount).toBe(0);
    });
    expect(await refusal(place)).toBe('too-old');
    // A transaction that was in progress before the deletion, in any database of the server, may be among the deleted ones.
    const after = await eventually(async () => {
      const later = await beginChanges(reader, {});
      expect(await refusal(later)).toBe('accepted');
      return later;
    });
    await expect(beginChanges(reader, { since: place.at })).rejects.toThrow(ChangesLostError);
    await writer.write(run(2, 4, { deviceId: 'deleted' }));
    expect((await follow(after, 10)).changes).toHaveLength(2);
  });

  it('where the rows of transactions came from a dump', async () => {
    const place = await beginChanges(reader, {});
    await writer.write(run(0, 3, { deviceId: 'dumped' }));
    // What a restored dump looks like: the ids are of other transactions than the rows.
    await database.pool.query(
      `create temp table dump as select * from envelopes; delete from envelopes; insert into envelopes select * from dump`,
    );
    await expect(beginChanges(reader, { since: place.at })).rejects.toMatchObject({ reason: 'store-replaced' });
    expect(await refusal(place)).toBe('store-replaced');
    // Restoring with --clean makes new tables.
    const now = await beginChanges(reader, {});
    expect(await refusal(now)).toBe('accepted');
    expect(await refusal({ ...now, store: now.store.replace(/\/\d+\//, '/1/') })).toBe('store-replaced');
  });
});
