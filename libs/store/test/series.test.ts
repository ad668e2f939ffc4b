import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createBatchWriter } from '../src/batch-writer.ts';
import { onConnection } from '../src/cancellable.ts';
import { buildBackward } from '../src/rollups/backfill.ts';
import { buildForward } from '../src/rollups/build-range.ts';
import { buildMarked } from '../src/rollups/build-marked.ts';
import { hourOf, moveHorizon, startOfHour } from '../src/rollups/horizon.ts';
import { planWithCost } from '../src/series/plan-series.ts';
import { inSnapshot, readPlanned } from '../src/series/read-series.ts';
import { readCatalog } from '../src/series/series-catalog.ts';
import {
  type Aggregate,
  aggregates,
  type SeriesQuery,
  type SeriesRow,
  type SeriesSource,
} from '../src/series/series-query.ts';
import { freshStore, open } from './fixture.ts';
import { day, monday } from './reading.ts';
import { canonical, expectedSeries, type PlacedReading } from './series-reference.ts';

const { database: writing, databaseUrl } = await freshStore();
const database = open(databaseUrl, { readOnly: true, pipelined: true, poolMax: 2 });
const writer = createBatchWriter(writing.pool);
/** Finds no room for its combinations of names, so its readings have no shape. */
const shapeless = createBatchWriter(writing.pool, { shapesMax: 30_000, shapesPerDeviceMax: 0 });

const builder = await open(databaseUrl, { pipelined: false }).pool.connect();
cleanUp(() => builder.release());
const ofRollups = aggregates.filter((name) => name !== 'distinct' && name !== 'state');

/** Random histories with rollups; five times as many without. More: `SERIES_TEST_RUNS=100 npm test -- libs/store/test/series`. */
const runs = Number(process.env['SERIES_TEST_RUNS'] ?? 4);

const devices = ['one', 'two', 'three'];
/** Above it, an estimate is counted. */
const countedMax = 200;
const numbers = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  fc.constantFrom(1e15 + 0.5, -0, 0.1, 1e-300),
);
const values = fc.oneof(
  { weight: 8, arbitrary: numbers },
  fc.boolean(),
  fc.constantFrom('on', 'off', ''),
  fc.constantFrom({ x: 1 }, { x: 1, y: 'z' }),
);
/** Three weeks, so three partitions; often equal times. */
const times = fc.oneof(
  fc.integer({ min: 0, max: 20 }).map((step) => monday - 7 * day + step * day),
  fc.integer({ min: -50, max: 50 }).map((step) => monday + step * 1_000),
  fc.integer({ min: -7 * day, max: 14 * day - 1 }).map((ms) => monday + ms),
);
const history = fc.array(
  fc.record({
    deviceId: fc.constantFrom(...devices),
    epoch: fc.constantFrom('a', 'b'),
    ts: times,
    metrics: fc.oneof(
      fc.record({ a: values }),
      fc.record({ a: values, b: numbers }),
      fc.record({ b: numbers, 'c,d': values }),
    ),
    isShapeless: fc.boolean(),
  }),
  { minLength: 1, maxLength: 60 },
);
const allMetrics = ['a', 'b', 'c,d', 'missing'];
/** A question about one metric has another statement. */
const someMetrics = fc.constantFrom(allMetrics, ['a']);
const questions = fc.record({
  metrics: someMetrics,
  edges: fc.uniqueArray(times, { minLength: 2, maxLength: 8 }),
  heldMs: fc.constantFrom(0, 1_000, 60_000, day),
  percentiles: fc.constantFrom([], [0.5], [0, 0.999, 1]),
  where: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    fc.array(
      fc.record({
        metric: fc.constantFrom('a', 'b', 'missing'),
        operator: fc.constantFrom('<', '<=', '>', '>=', '=', '!=' as const),
        value: fc.integer({ min: -3, max: 3 }),
      }),
      { minLength: 1, maxLength: 2 },
    ),
  ),
  groups: fc.option(fc.array(fc.tuple(fc.nat(2), fc.nat(1)), { minLength: 1, maxLength: 4 })),
});

it('every aggregate of random histories equals the one computed from all readings, sums within the last digits', async () => {
  let round = 0;
  await fc.assert(
    fc.asyncProperty(history, fc.array(questions, { minLength: 1, maxLength: 4 }), async (drawn, asked) => {
      const stored = await store(drawn, (round += 1));
      await expectAnswers(stored, asked);
    }),
    { numRuns: 5 * runs },
  );
});

type Asked = typeof questions extends fc.Arbitrary<infer T> ? T : never;

/** @returns where the answers come from */
async function expectAnswers(
  stored: readonly PlacedReading[],
  asked: readonly (Asked & { readonly of?: readonly Aggregate[] })[],
): Promise<SeriesSource['source'][]> {
  const sources: SeriesSource['source'][] = [];
  const deviceKeys = [...new Set(stored.map(({ deviceKey }) => deviceKey))].sort((a, b) => a - b);
  for (const { metrics, edges, heldMs, groups, percentiles, where, of = aggregates } of asked) {
    const sorted = edges.toSorted((a, b) => a - b);
    const pairs = [
      ...new Map((groups ?? []).map(([device, group]) => [`${device}/${group}`, [device, group] as const])).values(),
    ];
    const grouped = pairs.filter(([device]) => device < deviceKeys.length);
    const query: SeriesQuery = {
      deviceKeys,
      metrics,
      aggregates: new Set(of),
      percentiles,
      where,
      buckets: sorted.slice(1).map((to, index) => ({ from: sorted[index]!, to, heldSince: sorted[index]! - heldMs })),
      groups:
        groups === null
          ? undefined
          : {
              deviceKeys: grouped.map(([device]) => deviceKeys[device]!),
              numbers: grouped.map(([, group]) => group),
            },
    };
    const { rows, source } = await onConnection(database.pool, undefined, (client) =>
      inSnapshot(
        client,
        () => readCatalog(client, query),
        async (catalog) => readPlanned(database, client, query, await planWithCost(client, catalog, query, countedMax)),
      ),
    );
    sources.push(source);
    const expected = expectedSeries(stored, query);
    const about = `${source}, edges ${sorted.map((edge) => (edge - monday) / 3_600_000).join(' ')}, ${of.join()}`;
    expect(rows.map(({ group, metric, bucket }) => `${group}/${metric}/${bucket}`).sort(), about).toEqual(
      [...expected.keys()].sort(),
    );
    for (const row of rows) expectEqual(row, expected.get(`${row.group}/${row.metric}/${row.bucket}`)!, query, stored);
  }
  return sources;
}

const firstHour = hourOf(monday);
const hours = 4;
/** Within a few hours, of which one has enough readings for rollups of minutes. */
const denseHistory = fc.array(
  fc.record({
    deviceId: fc.constantFrom('one', 'one', 'one', 'two'),
    epoch: fc.constantFrom('a', 'b'),
    ts: fc.oneof(
      { weight: 3, arbitrary: fc.integer({ min: 0, max: startOfHour(hours) - 1 }).map((ms) => monday + ms) },
      fc.integer({ min: 0, max: 40 }).map((step) => monday + step * 60_000),
      { weight: 3, arbitrary: fc.integer({ min: 0, max: 600 }).map((step) => monday + startOfHour(2) + step * 6_000) },
    ),
    metrics: fc.oneof(
      { weight: 4, arbitrary: fc.record({ a: numbers }) },
      { weight: 3, arbitrary: fc.record({ a: numbers, b: numbers }) },
      fc.record({ a: values, b: numbers }),
      fc.record({ 'c,d': values }),
    ),
    isShapeless: fc.nat(20).map((one) => one === 0),
  }),
  { minLength: 700, maxLength: 900, size: 'max' },
);
const edges = (of: fc.Arbitrary<number>) => fc.uniqueArray(of, { minLength: 2, maxLength: 6 });
const denseQuestions = fc.record({
  metrics: someMetrics,
  edges: fc.oneof(
    { weight: 3, arbitrary: edges(fc.integer({ min: 0, max: hours }).map((hour) => monday + startOfHour(hour))) },
    // In the hour that has rollups of minutes.
    edges(fc.integer({ min: 120, max: 180 }).map((minute) => monday + minute * 60_000)),
    edges(fc.integer({ min: 0, max: hours * 60 }).map((minute) => monday + minute * 60_000)),
    edges(fc.integer({ min: -1, max: startOfHour(hours) }).map((ms) => monday + ms)),
    // Whole hours, but for the ends.
    fc
      .tuple(fc.integer({ min: 0, max: 3_600_000 }), fc.integer({ min: 0, max: 3_600_000 }))
      .map(([start, end]) => [
        monday + start,
        monday + startOfHour(2),
        monday + startOfHour(3),
        monday + startOfHour(4) + end,
      ]),
  ),
  heldMs: fc.constantFrom(0, 60_000, day),
  percentiles: fc.constant([]),
  where: fc.constant([]),
  groups: fc.option(fc.array(fc.tuple(fc.nat(1), fc.nat(1)), { minLength: 1, maxLength: 4 })),
  of: fc.constantFrom(
    ofRollups,
    ofRollups.filter((name) => name !== 'first' && name !== 'last'),
    ['avg', 'stddev'] as const,
    ['twavg', 'rate'] as const,
  ),
});
/** What is done to rollups between two questions. */
const step = fc.constantFrom('all', 'all', 'move', 'forward', 'backward', 'marked', 'none');

it('every aggregate is the same whatever of the rollups is built, marked or missing', async () => {
  let round = 1_000;
  const sources: string[] = [];
  const property = fc.asyncProperty(
    denseHistory,
    fc.array(fc.tuple(step, fc.nat(3), denseQuestions), { minLength: 5, maxLength: 12 }),
    fc.nat(hours),
    async (drawn, moments, begun) => {
      await startRollupsAt(firstHour + begun);
      round += 1;
      let stored: readonly PlacedReading[] = [];
      for (const [index, [what, share, question]] of moments.entries()) {
        if (share === 0 || index === 2)
          stored = await store(drawn.slice(0, Math.ceil((drawn.length * (index + 1)) / moments.length)), round);
        await advance(what, index);
        if (stored.length > 0) sources.push(...(await expectAnswers(stored, [question])));
      }
    },
  );
  // Not all are read from readings alone: where by chance a few were, there are more. Some are from rollups alone.
  while (!sources.includes('mixed')) await fc.assert(property, { numRuns: runs, endOnFailure: true });
});

it('whole hours are answered from rollups of hours, whole minutes from those of minutes, and what needs each value from readings', async () => {
  await startRollupsAt(firstHour);
  const drawn = Array.from({ length: 2_400 }, (_, index) => ({
    deviceId: 'one',
    epoch: 'a',
    ts: monday + index * 4_500,
    metrics: { a: (index * 7) % 13, b: index },
    isShapeless: false,
  }));
  const stored = await store(drawn, 3_000);
  await advance('all', 0);
  const ask = (edges: number[], of: readonly Aggregate[] = ofRollups) =>
    expectAnswers(stored, [
      {
        metrics: allMetrics,
        edges: edges.map((minute) => monday + minute * 60_000),
        of,
        heldMs: day,
        percentiles: [],
        where: [],
        groups: null,
      },
    ]);
  expect(await ask([0, 60, 120, 180])).toEqual(['1h']);
  expect(await ask([60, 65, 70, 120])).toEqual(['1m']);
  expect(await ask([0.5, 60, 120, 150])).toEqual(['mixed']);
  expect(await ask([0, 60, 120], ['distinct'])).toEqual(['raw']);
  // A late reading: its tile is read from readings until it is built again.
  const late = { ...drawn[0]!, ts: monday + 61 * 60_000, metrics: { a: 100, b: 1 } };
  const more = await store([...drawn, late], 3_000);
  stored.push(more.at(-1)!);
  expect(await ask([0, 60, 120, 180])).toEqual(['mixed']);
  await advance('marked', 0);
  expect(await ask([0, 60, 120, 180])).toEqual(['1h']);
});

it('a first value that is no number is found where several metrics of a tile have such values', async () => {
  await startRollupsAt(firstHour);
  const drawn = ['one', 'two'].flatMap((deviceId) =>
    Array.from({ length: 40 }, (_, index) => ({
      deviceId,
      epoch: 'a',
      ts: monday + index * 60_000,
      metrics: { a: index === 0 ? deviceId : index, b: index === 0 && deviceId === 'one' ? true : index },
      isShapeless: false,
    })),
  );
  const stored = await store(drawn, 4_000);
  await advance('all', 0);
  const asked = await expectAnswers(stored, [
    {
      metrics: allMetrics,
      edges: [monday, monday + 3_600_000],
      of: ['first', 'last'],
      heldMs: day,
      percentiles: [],
      where: [],
      groups: null,
    },
  ]);
  expect(asked).toEqual(['raw']);
});

it('of tiles whose mean or deviation is too small for a double, Postgres refuses nothing', async () => {
  await startRollupsAt(firstHour);
  // Sums of squares of such distances, and sums of such numbers, are just above zero: a part of one is none.
  const [distance, least] = [1.6e-162, 5e-324];
  const drawn = Array.from({ length: 120 }, (_, index) => ({
    deviceId: 'one',
    epoch: 'a',
    ts: monday + index * 60_000,
    metrics: { a: index % 60 === 0 ? least : 0, b: index % 60 === 0 ? distance : 0 },
    isShapeless: false,
  }));
  const stored = await store(drawn, 5_000);
  await advance('all', 0);
  const ask = (hoursAsked: readonly number[]) =>
    expectAnswers(stored, [
      {
        metrics: ['a', 'b'],
        edges: hoursAsked.map((hour) => monday + hour * 3_600_000),
        of: ofRollups,
        heldMs: day,
        percentiles: [],
        where: [],
        groups: null,
      },
    ]);
  expect(await ask([0, 1, 2])).toEqual(['1h']);
  expect(await ask([0, 2])).toEqual(['1h']);
  expect(await ask([0, 1.5])).toEqual(['mixed']);
});

/** Nothing is stored, built or marked. The builders would ask for the devices of earlier rounds, too, one after the other. */
async function startRollupsAt(hour: number): Promise<void> {
  await writing.pool.query('truncate readings, device_periods, tiles, rollup_1h, rollup_1m, rollup_marks');
  await writing.pool.query(
    'update rollup_state set horizon = $1, built_from = $1, built_until = $1, raw_from = 0, final_until = 0',
    [hour],
  );
}

async function advance(what: typeof step extends fc.Arbitrary<infer T> ? T : never, index: number): Promise<void> {
  if (what === 'move') await moveHorizon(builder, firstHour + Math.min(hours, index));
  if (what === 'all') {
    await moveHorizon(builder, firstHour + hours);
    while (await buildForward(builder));
    while (await buildBackward(builder, { now: monday, hoursRetentionDays: 3_650 }));
    while (await buildMarked(builder, { quietMs: 0 }));
  }
  if (what === 'forward') await buildForward(builder);
  if (what === 'backward') await buildBackward(builder, { now: monday, hoursRetentionDays: 3_650 });
  if (what === 'marked') await buildMarked(builder, { quietMs: 0 });
}

/** Writes the readings in two batches, some of them twice. */
async function store(
  drawn: readonly (Pick<IdentifiedReading, 'deviceId' | 'epoch' | 'ts' | 'metrics'> & { isShapeless: boolean })[],
  round: number,
) {
  const readings = drawn.map(({ isShapeless, ...one }, seq) => ({
    isShapeless,
    reading: { ...one, deviceId: `${one.deviceId}-${round}`, seq, receivedAt: one.ts + 50 },
  }));
  const part = (wanted: boolean) =>
    readings.filter(({ isShapeless }) => isShapeless === wanted).map(({ reading }) => reading);
  await writer.write(part(false));
  await shapeless.write(part(true));
  await writer.write(part(false).slice(0, 5));
  const { rows } = await database.pool.query<{
    device_id: string;
    epoch: string;
    device_key: number;
    stream_key: number;
  }>(
    'select device_id, epoch, device_key, stream_key from streams join devices using (device_key) where device_id like $1',
    [`%-${round}`],
  );
  const keys = new Map(rows.map((row) => [`${row.device_id}/${row.epoch}`, row]));
  return readings.map(({ reading: { deviceId, epoch, ...reading } }): PlacedReading => {
    const { device_key: deviceKey, stream_key: streamKey } = keys.get(`${deviceId}/${epoch}`)!;
    return { ...reading, deviceKey, streamKey };
  });
}

const approximate = ['sum', 'stddev', 'increase', 'rate', 'delta', 'twavg', 'coveredMs'] as const;

/** The aggregate that a member of a row belongs to, where it has another name. */
const aggregateOf: Readonly<Record<string, Aggregate>> = {
  firstOther: 'first',
  lastOther: 'last',
  coveredMs: 'twavg',
  m4First: 'm4',
  m4Min: 'm4',
  m4Max: 'm4',
  m4Last: 'm4',
};
const always = ['group', 'metric', 'bucket', 'count', 'numbers', 'percentiles'];

function expectEqual(row: SeriesRow, expected: object, query: SeriesQuery, stored: readonly PlacedReading[]): void {
  const { states, ...wanted } = expected as SeriesRow & { states: unknown };
  const isAsked = (name: string) =>
    always.includes(name) || query.aggregates.has(aggregateOf[name] ?? (name as Aggregate));
  const exact = Object.keys(wanted).filter((name) => isAsked(name) && !approximate.includes(name as never));
  const found = row as unknown as Record<string, unknown>;
  const picked = Object.fromEntries(exact.map((name) => [name, withoutMinusZero(found[name] ?? null)]));
  const percentiles = query.percentiles.length === 0 ? null : wanted.percentiles;
  expect(picked).toEqual(
    Object.fromEntries(
      exact.map((name) => [name, withoutMinusZero(name === 'percentiles' ? percentiles : (wanted as never)[name])]),
    ),
  );
  if (query.aggregates.has('state')) expectStates(row, states);
  const magnitude = magnitudeOf(stored, query.metrics[row.metric]!);
  for (const name of approximate) {
    if (!isAsked(name)) continue;
    const [got, want] = [row[name] ?? null, wanted[name] ?? null];
    if (got === null || want === null) expect([name, got]).toEqual([name, want]);
    else expect([name, Math.abs(got - want) <= 1e-12 * magnitude + 1e-290, got, want]).toEqual([name, true, got, want]);
  }
}

function expectStates(row: SeriesRow, states: unknown): void {
  const listed = (row.states ?? []).map(({ value, ms }) => [canonical(value), ms]);
  expect(Object.fromEntries(listed.sort(([a], [b]) => (a! < b! ? -1 : 1)))).toEqual(states);
}

/** Σ|x| of the metric, which the last digits of sums are relative to. */
function magnitudeOf(stored: readonly PlacedReading[], metric: string): number {
  return stored.reduce(
    (sum, { metrics }) => sum + (typeof metrics[metric] === 'number' ? Math.abs(metrics[metric]) : 0),
    0,
  );
}

/** -0 is given as 0. */
function withoutMinusZero(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
