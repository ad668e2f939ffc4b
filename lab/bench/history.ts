import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { createBatchWriter } from '@fleetwire/store/batch-writer';
import { openDatabase } from '@fleetwire/store/database';
import { ensurePartitions } from '@fleetwire/store/partitions';
import type { Period } from '@fleetwire/store/periods';
import { buildBackward } from '@fleetwire/store/rollups/backfill';
import { nextRangeHours } from '@fleetwire/store/rollups/build-range';
import { asBuilder } from '@fleetwire/store/rollups/horizon';
import { sequenceBlockSize } from '@fleetwire/store/sequence-blocks';
import type pg from 'pg';
import { deviceIdOf, metricsAt, samples } from './workload.ts';

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;
const batchReadings = 2_000;
const rollupDays = 3_650;
/** Partitions that are filled side by side. */
const connections = 2;

/** A fleet of which few devices send each minute, and the others about each hour. */
export interface HistorySize {
  readonly days: number;
  readonly readings: number;
  readonly devices: number;
  readonly minuteDevices: number;
}

export interface History {
  readonly readings: number;
  /** Start of the first minute and end of the last, epoch milliseconds. */
  readonly from: number;
  readonly to: number;
}

/**
 * Stores a history as a fleet would have sent it: the first and the last hours through the platform's own writer, and the months between as
 * rows like those that the writer makes, by partition, in the order of time. Of each device the numbers begin with 1.
 */
export async function fillHistory(databaseUrl: string, size: HistorySize, to: number): Promise<History> {
  const fleet = fleetOf(size, to);
  await using database = open(databaseUrl);
  const { pool } = database;
  // Each device sends in these hours: they have all keys, and the latest state.
  const edge = 2 * Math.ceil((size.devices - size.minuteDevices) / Math.max(1, fleet.turnsPerMinute));
  const written = Math.min(edge, Math.floor(fleet.minutes / 2));
  await writeMinutes(pool, fleet, 0, written);
  await writeMinutes(pool, fleet, fleet.minutes - written, fleet.minutes);
  await copyMinutes(pool, fleet, written, fleet.minutes - written);
  await pool.query('vacuum (analyze)');
  await rollUp(pool, to);
  await pool.query('vacuum (analyze)');
  const { rows } = await pool.query<{ readings: number }>('select count(*) as readings from readings');
  return { readings: rows[0]!.readings, from: fleet.from, to: fleet.from + fleet.minutes * minuteMs };
}

interface Fleet {
  readonly from: number;
  readonly minutes: number;
  readonly devices: number;
  readonly minuteDevices: number;
  /** The devices that do not send each minute take turns, so that each minute has about as many readings as any other. */
  readonly turnsPerMinute: number;
}

function fleetOf({ days, readings, devices, minuteDevices }: HistorySize, to: number): Fleet {
  const minutes = days * 24 * 60;
  const from = Math.floor(to / minuteMs) * minuteMs - days * dayMs;
  const turnsPerMinute = Math.max(0, readings - minutes * minuteDevices) / minutes;
  return { from, minutes, devices, minuteDevices, turnsPerMinute };
}

async function writeMinutes(pool: pg.Pool, fleet: Fleet, first: number, end: number): Promise<void> {
  const writer = createBatchWriter(pool);
  let batch: IdentifiedReading[] = [];
  for (let minute = first; minute < end; minute += 1) {
    batch.push(...readingsOf(fleet, minute));
    if (batch.length < batchReadings && minute + 1 < end) continue;
    await writer.write(batch);
    batch = [];
  }
}

function readingsOf({ from, devices, minuteDevices, turnsPerMinute }: Fleet, minute: number): IdentifiedReading[] {
  const start = from + minute * minuteMs;
  const reading = (device: number, seq: number, ts: number): IdentifiedReading => ({
    deviceId: deviceIdOf(device),
    epoch: 'bench',
    seq,
    ts,
    receivedAt: ts,
    metrics: { ...metricsAt(device, seq) },
  });
  const each = Array.from({ length: minuteDevices }, (_, device) => reading(device, minute + 1, start + device));
  const others = devices - minuteDevices;
  const firstTurn = Math.floor(minute * turnsPerMinute);
  const turns = Math.floor((minute + 1) * turnsPerMinute) - firstTurn;
  const inTurn = Array.from({ length: turns }, (_, index) => {
    const turn = firstTurn + index;
    const device = minuteDevices + (turn % others);
    return reading(device, Math.floor(turn / others) + 1, start + minuteDevices + index * 100);
  });
  return [...each, ...inTurn];
}

/** The same readings as `readingsOf`, made by Postgres. */
async function copyMinutes(pool: pg.Pool, fleet: Fleet, first: number, end: number): Promise<void> {
  const startOf = (minute: number) => fleet.from + minute * minuteMs;
  const times = Array.from({ length: Math.ceil((end - first) / 1_440) + 1 }, (_, day) =>
    startOf(Math.min(end - 1, first + day * 1_440)),
  );
  const periods = (await ensurePartitions(pool, { times, now: startOf(fleet.minutes) })).filter(
    (period) => period.to > startOf(first) && period.from < startOf(end),
  );
  await enterKeys(pool, fleet, periods);
  const left = [...periods];
  const fill = async () => {
    for (let period = left.shift(); period !== undefined; period = left.shift()) {
      const from = Math.max(first, Math.ceil((period.from - fleet.from) / minuteMs));
      const to = Math.min(end, Math.ceil((period.to - fleet.from) / minuteMs));
      await pool.query(copied, [fleet.from, from, to, fleet.minuteDevices, fleet.devices, fleet.turnsPerMinute]);
    }
  };
  await Promise.all(Array.from({ length: connections }, fill));
  await pool.query('drop table bench_devices, bench_samples');
}

/** $1: start of the fleet; $2, $3: minutes, half-open; $4: devices that send each minute; $5: devices; $6: turns in a minute. */
const copied = `
  insert into readings (ts, received_at, seq, device_key, stream_key, shape_key, numbers)
  select r.at, r.at, r.seq, d.device_key, d.stream_key, s.shape_key, s.numbers
  from (
    select device, seq, to_timestamp(($1::float8 + ms) / 1000) as at from (
      select device, minute + 1 as seq, minute::float8 * ${minuteMs} + device as ms
      from generate_series($2::int8, $3::int8 - 1) as minute, generate_series(0, $4::int8 - 1) as device
      union all
      select $4::int8 + turn % ($5::int8 - $4::int8), turn / ($5::int8 - $4::int8) + 1, minute::float8 * ${minuteMs} + $4::int8 + (turn - first) * 100
      from generate_series($2::int8, $3::int8 - 1) as minute,
        lateral (select floor(minute * $6::float8)::int8 as first, floor((minute + 1) * $6::float8)::int8 as next) as turns,
        lateral generate_series(first, next - 1) as turn
    ) as q order by ms
  ) as r
  join bench_devices d using (device)
  join bench_samples s on s.sample = (r.device * 31 + r.seq) % ${samples.length}
  order by r.at`;

/** What the writer enters beside the rows, and tables to make rows from. */
async function enterKeys(pool: pg.Pool, fleet: Fleet, periods: readonly Period[]): Promise<void> {
  const { minutes, minuteDevices, devices, turnsPerMinute } = fleet;
  const others = devices - minuteDevices;
  const turns = Math.floor(minutes * turnsPerMinute);
  await pool.query(`
    create table bench_devices as
      select n.device, d.device_key, s.stream_key from generate_series(0, ${devices} - 1) as n (device)
      join devices d on d.device_id = '${deviceIdOf(0).slice(0, -1)}' || n.device join streams s using (device_key);
    create table bench_samples as
      select sample - 1 as sample, shape_key, array(select (metrics ->> name)::float8 from unnest(names) with ordinality as n (name, no) order by no) as numbers
      from json_array_elements('${JSON.stringify(samples)}') with ordinality as w (metrics, sample),
        (select shape_key, names from shapes where cardinality(names) > 0) as s;
    analyze bench_devices, bench_samples`);
  await pool.query(
    `insert into device_periods (device_key, from_ts, to_ts)
     select device_key, to_timestamp(from_ms / 1000), to_timestamp(to_ms / 1000)
     from bench_devices, unnest($1::float8[], $2::float8[]) as p (from_ms, to_ms) on conflict do nothing`,
    [periods.map(({ from }) => from), periods.map(({ to }) => to)],
  );
  await pool.query(
    `with last as (
       select stream_key, case when device < $1::int8 then $2::int8 else ($3::int8 - (device - $1::int8) - 1) / greatest(1, $4::int8) + 1 end as seq
       from bench_devices
     )
     insert into sequence_blocks (stream_key, block, seen, newly_stored)
     select stream_key, block, seen, seen
     from last, generate_series(0, seq / ${sequenceBlockSize}) as block, lateral (
       select int8multirange(int8range(greatest(1, block * ${sequenceBlockSize}), least(seq + 1, (block + 1) * ${sequenceBlockSize}))) as seen
     ) as r
     on conflict (stream_key, block) do update set seen = excluded.seen`,
    [minuteDevices, minutes, turns, others],
  );
}

/** Builds what a worker would have built in the days of the history. Nothing is built yet, so the marks of its hours say nothing. */
async function rollUp(pool: pg.Pool, now: number): Promise<void> {
  await asBuilder(pool, async (client) => {
    await client.query('truncate rollup_marks');
    let rangeHours: number | undefined;
    for (;;) {
      const step = await buildBackward(client, {
        now,
        hoursRetentionDays: rollupDays,
        ...(rangeHours !== undefined && { rangeHours }),
      });
      if (step === undefined) return;
      const { from, to } = step.hours;
      rangeHours = nextRangeHours(to - from, step.built);
    }
  });
}

function open(databaseUrl: string) {
  const database = openDatabase({
    databaseUrl,
    poolMax: connections,
    statementTimeoutMs: 600_000,
    applicationName: 'bench',
    pipelined: true,
  });
  return Object.assign(database, { [Symbol.asyncDispose]: () => database.close() });
}
