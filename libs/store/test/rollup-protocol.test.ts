import { setTimeout as sleep } from 'node:timers/promises';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type pg from 'pg';
import { beforeAll, beforeEach, expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { updateDevice } from '../src/registry/changes.ts';
import { getDevice } from '../src/registry/devices.ts';
import { eraseStep } from '../src/registry/erasures.ts';
import { buildBackward } from '../src/rollups/backfill.ts';
import { buildMarked } from '../src/rollups/build-marked.ts';
import { buildForward } from '../src/rollups/build-range.ts';
import { asBuilder, hourOf, moveHorizon, startOfHour } from '../src/rollups/horizon.ts';
import { freshStore, open } from './fixture.ts';
import { day, monday } from './reading.ts';
import { checkRollups } from './rollup-reference.ts';

const { database, databaseUrl } = await freshStore();
const { pool } = database;

const testMs = Number(process.env['ROLLUPS_TEST_SECONDS'] ?? 5) * 1_000;
const isMutantRun = process.env['ROLLUPS_TEST_MUTANTS'] === '1';
const mutantMs = 15_000;
const firstHour = hourOf(monday);
const devices = ['one', 'two', 'three'];
const writers = 4;
/** An hour of device time passes with so many batches. */
const batchesPerHour = 2;
/** On a busy machine it runs longer, until it has tested so much. */
const cleanTilesMin = 10;
const snapshotsMin = 20;
const busyMs = 60_000;

/** A planted fault: what a session sends in place of a text. */
interface Mutant {
  readonly name: string;
  readonly replaced: readonly (readonly [RegExp, string])[];
}

const lock = /select pg_advisory_xact_lock_shared\((\d+)\)/;
const mutants: readonly Mutant[] = [
  { name: 'writers take no lock', replaced: [[lock, 'select 1']] },
  {
    name: 'writers take the lock and read the horizon in one statement',
    replaced: [
      [lock, 'select 1'],
      [
        /select horizon, raw_from as "rawFrom" from rollup_state/,
        'select horizon, raw_from as "rawFrom", pg_advisory_xact_lock_shared(4602715114) from rollup_state',
      ],
    ],
  },
  {
    name: 'writers do nothing where there is a mark',
    replaced: [[/do update set version = known.version \+ 1, marked_at = excluded.marked_at/, 'do nothing']],
  },
  {
    name: 'several sessions build',
    replaced: [[/select pg_try_advisory_lock\(\$1\) as held/, 'select true as held from (select $1::int8) as ignored']],
  },
  { name: 'marks are cleared in any version', replaced: [[/where m.version = b.version/, 'where true']] },
];

/** A pool whose sessions may be terminated. */
function faultyPool(mutant: Mutant | undefined): pg.Pool {
  const { pool: faulty } = open(databaseUrl, { applicationName: 'faulty', poolMax: 4 });
  faulty.on('connect', (client: pg.PoolClient) => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    const changed = (text: string) =>
      (mutant?.replaced ?? []).reduce((result, [from, to]) => result.replace(from, to), text);
    Object.assign(client, {
      query: (first: string | pg.QueryConfig, ...rest: unknown[]) =>
        query(typeof first === 'string' ? changed(first) : { ...first, text: changed(first.text) }, ...rest),
    });
  });
  return faulty;
}

beforeAll(async () => {
  // Races are a matter of microseconds: these pauses make them common, and some transactions fail at the last moment.
  await pool.query(`
    create function pause() returns trigger language plpgsql as $$
    begin
      perform pg_sleep(random() * tg_argv[0]::float8);
      if random() < tg_argv[1]::float8 then raise exception 'planted' using errcode = '40001'; end if;
      return null;
    end $$`);
  for (const [table, event, seconds, failures] of [
    ['sequence_blocks', 'insert or update', 0.01, 0],
    ['readings', 'insert', 0.03, 0.1],
    ['device_latest', 'insert or update', 0.01, 0],
    ['rollup_state', 'update', 0.03, 0],
    ['tiles', 'delete', 0.02, 0],
    ['tiles', 'insert', 0.05, 0],
  ] as const)
    await pool.query(
      `create trigger pause_${event.slice(0, 6)} after ${event} on ${table} for each statement execute function pause(${seconds}, ${failures})`,
    );
});

beforeEach(async () => {
  await pool.query(
    'truncate readings, sequence_blocks, device_latest, device_erasures, tiles, rollup_1h, rollup_1m, rollup_marks',
  );
  await pool.query('update rollup_state set horizon = $1, built_from = $1, built_until = $1', [firstHour + 3]);
});

interface Outcome {
  readonly snapshots: number;
  /** What was wrong, with the snapshots in which something was. */
  readonly wrong: readonly string[];
  readonly wrongSnapshots: number;
  readonly clean: number;
  readonly batches: number;
  readonly terminated: number;
  readonly unexpected: readonly string[];
}

/** Writers, erasures, mover and two builders side by side; some of their sessions are terminated. */
async function runProtocol(forMs: number, mutant?: Mutant): Promise<Outcome> {
  const faulty = faultyPool(mutant);
  const checker = await open(databaseUrl).pool.connect();
  cleanUp(() => checker.release());
  const startedAt = performance.now();
  const counts = { snapshots: 0, wrongSnapshots: 0, clean: 0, batches: 0, terminated: 0 };
  const hour = () => firstHour + 4 + Math.floor(counts.batches / batchesPerHour);
  const isOver = () => {
    const hasTested = mutant !== undefined || (counts.clean >= cleanTilesMin && counts.snapshots >= snapshotsMin);
    return performance.now() - startedAt > (hasTested ? forMs : forMs + busyMs);
  };
  const wrong: string[] = [];
  const unexpected: string[] = [];
  const loop = async (work: () => Promise<unknown>) => {
    while (!isOver() && wrong.length + unexpected.length === 0)
      await work().catch((error: { code?: string; message: string }) => {
        // Terminated, planted, or a mover that gave up; what a broken connection is called differs.
        if (/^(?:22|23|42|40P01|XX)/.test(error.code ?? '')) unexpected.push(`${error.code} ${error.message}`);
      });
  };

  const write = async (who: number, batch: number) => {
    const now = hour();
    const readings = Array.from({ length: 1 + Math.floor(Math.random() * 80) }, (_, index): IdentifiedReading => {
      const isLate = Math.random() < 0.3;
      const at = isLate ? now - 1 - Math.floor(Math.random() * 12) : now - (Math.random() < 0.3 ? 1 : 0);
      return {
        deviceId: devices[Math.floor(Math.random() * devices.length)]!,
        epoch: `writer-${who}`,
        seq: batch * 100 + index,
        ts: startOfHour(Math.max(firstHour, at)) + Math.floor(Math.random() * startOfHour(1)),
        receivedAt: monday,
        metrics: Math.random() < 0.2 ? { a: Math.random(), state: 'on' } : { a: Math.random() },
      };
    });
    await writer.write(readings);
    // A client that repeats itself.
    if (Math.random() < 0.2) await writer.write(readings.slice(0, 5), 'repeat');
    counts.batches += 1;
  };
  const writer = createBatchWriter(faulty);
  const build = () =>
    asBuilder(faulty, async (client) => {
      await buildForward(client);
      await buildMarked(client, { quietMs: 0 });
      await buildBackward(client, { now: monday, hoursRetentionDays: 3_650 });
    });

  await Promise.all([
    ...Array.from({ length: writers }, (_, who) => {
      let batch = 0;
      return loop(() => write(who, (batch += 1)));
    }),
    loop(async () => {
      await asMover(faulty, (client) => moveHorizon(client, hour()));
      await sleep(20);
    }),
    loop(async () => {
      await build();
      await sleep(5);
    }),
    loop(async () => {
      await build();
      await sleep(5);
    }),
    loop(async () => {
      await sleep(300);
      await requestErasure(`erasure-${performance.now()}`);
      while ((await eraseStep(faulty, { rowsMax: 20, settleMs: 0, passPauseMs: 0 })) !== undefined && !isOver());
    }),
    loop(async () => {
      await sleep(100 + Math.random() * 100);
      const { rowCount } = await pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'faulty' order by random() limit 1`,
      );
      counts.terminated += rowCount ?? 0;
    }),
    loop(async () => {
      const checked = await checkRollups(checker);
      counts.snapshots += 1;
      counts.clean = Math.max(counts.clean, checked.clean);
      if (checked.wrong.length > 0) {
        counts.wrongSnapshots += 1;
        wrong.push(...checked.wrong);
      }
      await sleep(20);
    }),
  ]);
  return { ...counts, wrong, unexpected };
}

async function asMover(faulty: pg.Pool, work: (client: pg.PoolClient) => Promise<unknown>): Promise<void> {
  const client = await faulty.connect();
  let failure: Error | undefined;
  try {
    await work(client);
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    client.release(failure);
  }
}

async function requestErasure(erasureId: string): Promise<void> {
  const deviceId = devices[0]!;
  const device = await getDevice(database, { deviceId });
  if (device === undefined) return;
  await updateDevice(database, {
    deviceId,
    type: 'device.erased',
    actor: 'grace',
    state: { ...device, status: 'retired', erasedBefore: monday + day },
    patch: {},
    expectedVersion: device.version,
    erasureId,
  });
}

it(
  'every snapshot has the rollups that its readings give, while writers, erasures, mover and builders run and are terminated',
  async () => {
    const outcome = await runProtocol(testMs);
    const { wrong, unexpected, ...counts } = outcome;
    expect(wrong.slice(0, 10)).toEqual([]);
    expect(unexpected).toEqual([]);
    // It has tested something.
    expect(counts.clean).toBeGreaterThanOrEqual(cleanTilesMin);
    expect(counts.snapshots).toBeGreaterThanOrEqual(snapshotsMin);
    if (testMs > 5_000) process.stdout.write(`${JSON.stringify(counts)}\n`);
  },
  testMs + 2 * busyMs,
);

it.runIf(isMutantRun).for(mutants)(
  'a planted fault is found: $name',
  { timeout: mutantMs + 60_000 },
  async (mutant) => {
    const startedAt = performance.now();
    const { wrong, unexpected, ...counts } = await runProtocol(mutantMs, mutant);
    const seconds = (performance.now() - startedAt) / 1_000;
    process.stdout.write(
      `${mutant.name}: ${seconds.toFixed(1)} s ${JSON.stringify({ ...counts, wrong: wrong[0], unexpected: unexpected[0] })}\n`,
    );
    // Of several builders, one usually meets the rows of another, before a snapshot is wrong.
    expect([...wrong, ...unexpected]).not.toEqual([]);
  },
);
