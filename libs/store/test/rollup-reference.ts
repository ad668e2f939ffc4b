import type pg from 'pg';
import { startOfHour } from '../src/rollups/horizon.ts';
import { beginExactRead, readRollupState } from '../src/rollups/read-rollups.ts';

interface Row {
  readonly device_key: number;
  readonly stream_key: number;
  readonly seq: number;
  readonly ts: number;
  readonly names: readonly string[];
  readonly numbers: readonly number[];
  readonly others: Readonly<Record<string, unknown>> | null;
}

interface Value {
  readonly ms: number;
  readonly stream: number;
  readonly seq: number;
  readonly x: unknown;
}

type Rollup = Readonly<Record<(typeof columns)[number], number | null>>;

const exact = [
  'count',
  'others',
  'min',
  'max',
  'first',
  'last',
  'min_ms',
  'max_ms',
  'first_ms',
  'last_ms',
  'first_stream',
  'last_stream',
] as const;
const sums = ['sum', 'sxx', 'rise', 'area'] as const;
const columns = [...exact, ...sums] as const;

export interface Checked {
  /** What breaks invariant R in this snapshot: a line for each difference. */
  readonly wrong: readonly string[];
  /** Tiles with rollups and without a mark. */
  readonly clean: number;
  readonly marks: number;
}

/** Compares all tiles of the database with its readings, in one snapshot and in the simplest way. */
export async function checkRollups(client: pg.PoolClient): Promise<Checked> {
  await client.query(beginExactRead);
  const { builtFrom, builtUntil, finalUntil, minutesFrom } = await readRollupState(client);
  const { rows: marks } = await client.query<{ device_key: number; hour: number }>('select * from rollup_marks');
  const { rows: tiles } = await client.query<{ device_key: number; hour: number; kind: number; readings: number }>(
    'select * from tiles',
  );
  const { rows: hours } = await client.query(
    'select *, hour as at from rollup_1h join rollup_metrics using (metric_key)',
  );
  const { rows: minutes } = await client.query(
    'select *, minute as at from rollup_1m join rollup_metrics using (metric_key)',
  );
  const { rows: readings } = await client.query<Row>(
    'select r.*, s.names from readings r join shapes s using (shape_key)',
  );
  await client.query('commit');

  const isMarked = new Set(marks.map(({ device_key, hour }) => `${device_key}/${hour}`));
  const wrong: string[] = [];
  let clean = 0;
  const found = (rows: readonly pg.QueryResultRow[], unit: string, msPer: number) =>
    new Map<string, Rollup>(
      rows.map((row) => [
        `${row['device_key']}/${Math.floor((row['at'] * msPer) / startOfHour(1))}/${unit} ${row['at']}/${row['name']}`,
        row as Rollup,
      ]),
    );
  const stored = new Map([...found(hours, 'hour', startOfHour(1)), ...found(minutes, 'minute', 60_000)]);
  const kinds = new Map(tiles.map((tile) => [`${tile.device_key}/${tile.hour}`, tile]));
  const expected = new Map<string, { readings: number; values: Map<string, Value[]> }>();
  for (const row of readings) {
    const hour = Math.floor(row.ts / startOfHour(1));
    const key = `${row.device_key}/${hour}`;
    const tile = expected.get(key) ?? { readings: 0, values: new Map<string, Value[]>() };
    expected.set(key, tile);
    tile.readings += 1;
    for (const [name, x] of [
      ...row.names.map((one, index) => [one, row.numbers[index]] as const),
      ...Object.entries(row.others ?? {}),
    ])
      for (const unit of [`hour ${hour}`, `minute ${Math.floor(row.ts / 60_000)}`]) {
        const values = tile.values.get(`${unit}/${name}`) ?? [];
        values.push({ ms: row.ts, stream: row.stream_key, seq: row.seq, x });
        tile.values.set(`${unit}/${name}`, values);
      }
  }
  const seen = new Set<string>();
  for (const key of new Set([...kinds.keys(), ...expected.keys()])) {
    const hour = Number(key.split('/')[1]);
    if (hour < finalUntil || hour < builtFrom || hour >= builtUntil || isMarked.has(key)) continue;
    const tile = kinds.get(key);
    const of = expected.get(key) ?? { readings: 0, values: new Map<string, Value[]>() };
    if ((tile?.readings ?? 0) !== of.readings)
      wrong.push(`${key}: ${tile?.readings} readings instead of ${of.readings}`);
    if (tile === undefined || tile.kind === 0) continue;
    clean += 1;
    for (const [name, values] of of.values) {
      if (name.startsWith('minute') && (tile.kind !== 2 || hour < minutesFrom)) continue;
      seen.add(`${key}/${name}`);
      const start = Number(name.split(/[ /]/)[1]) * (name.startsWith('minute') ? 60_000 : startOfHour(1));
      wrong.push(...differences(`${key}/${name}`, stored.get(`${key}/${name}`), rollupOf(values, start)));
    }
    for (const name of stored.keys())
      if (name.startsWith(`${key}/`) && !seen.has(name)) wrong.push(`${name} has no readings`);
  }
  return { wrong, clean, marks: marks.length };
}

function rollupOf(values: readonly Value[], start: number): Rollup & { magnitude: number } {
  const all = values.toSorted((a, b) => a.ms - b.ms || a.stream - b.stream || a.seq - b.seq);
  const numbers = all.filter((value): value is Value & { x: number } => typeof value.x === 'number');
  const count = numbers.length;
  const sum = numbers.reduce((total, { x }) => total + x, 0);
  const min = numbers.reduce((least, { x }) => Math.min(least, x), Infinity);
  const max = numbers.reduce((greatest, { x }) => Math.max(greatest, x), -Infinity);
  const steps = numbers.slice(1).map((value, index) => ({ u: numbers[index]!, v: value }));
  const first = numbers[0];
  const last = numbers.at(-1);
  const isEmpty = first === undefined || last === undefined;
  return {
    count,
    others: all.length - count,
    sum: isEmpty ? null : sum,
    sxx: isEmpty ? null : numbers.reduce((total, { x }) => total + (x - sum / count) ** 2, 0),
    rise: isEmpty ? null : steps.reduce((total, { u, v }) => total + (v.x >= u.x ? v.x - u.x : v.x), 0),
    area: isEmpty ? null : steps.reduce((total, { u, v }) => total + u.x * (v.ms - u.ms), 0),
    min: isEmpty ? null : min,
    max: isEmpty ? null : max,
    first: first?.x ?? null,
    last: last?.x ?? null,
    min_ms: isEmpty ? null : numbers.find(({ x }) => x === min)!.ms - start,
    max_ms: isEmpty ? null : numbers.find(({ x }) => x === max)!.ms - start,
    first_ms: isEmpty ? null : first.ms - start,
    last_ms: isEmpty ? null : last.ms - start,
    first_stream: first?.stream ?? null,
    last_stream: last?.stream ?? null,
    magnitude: numbers.reduce((total, { x }) => total + Math.abs(x), 0),
  };
}

function differences(name: string, row: Rollup | undefined, expected: Rollup & { magnitude: number }): string[] {
  if (row === undefined) return [`${name} is missing`];
  // Relative to what is added up: squares for sxx, milliseconds for area.
  const { magnitude } = expected;
  const scale = { sum: magnitude, rise: magnitude, sxx: magnitude * magnitude, area: magnitude * startOfHour(1) };
  return columns.flatMap((column) => {
    const [got, want] = [row[column], expected[column]];
    const isSame =
      column in scale && got !== null && want !== null
        ? Math.abs(got - want) <= 1e-12 * scale[column as keyof typeof scale] + 1e-290
        : got === want;
    return isSame ? [] : [`${name}: ${column} is ${got} instead of ${want}`];
  });
}
