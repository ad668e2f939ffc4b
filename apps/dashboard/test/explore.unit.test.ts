import { beforeAll, describe, expect, test } from 'vitest';
import { viewer } from '../src/format.ts';
import { zone } from '../src/times.ts';
import {
  type SeriesAnswer,
  answeredText,
  drawingOf,
  leftOutText,
  linesOf,
  tooDear,
} from '../src/views/explore/answer.ts';
import { byHand } from '../src/views/explore/by-hand.ts';
import {
  changed,
  devicesText,
  exportRequest,
  exportUrl,
  firstQuestion,
  groupText,
  lengthText,
  questionOf,
  questionOfHref,
  searchOf,
  tagText,
} from '../src/views/explore/question.ts';
import { jobTexts } from '../src/views/explore/job-texts.ts';

beforeAll(() => {
  viewer.locale = 'en-GB';
  zone.value = 'UTC';
});

const question = {
  tag: 'depot:lyon-est',
  type: 'freezer',
  metrics: 'product.temperature',
  agg: 'avg,p95',
  groupBy: 'tag:firmware',
  interval: '15m',
  from: 'now-24h',
  to: 'now',
  tz: 'UTC',
  offset: '7d',
} as const;

const minutes = (count: number) =>
  Array.from({ length: count }, (_, index) => Date.UTC(2026, 10, 21, 14) + index * 900_000);

const answer = {
  interval: '15m',
  tz: 'UTC',
  resolution: 'raw',
  t: minutes(2),
  series: [
    {
      group: { firmware: '4.1.9' },
      metric: 'product.temperature',
      avg: [-21.5, -21.4],
      p95: [-20, null],
      before: { avg: [-21.6, null], p95: [-20.1, -20] },
    },
    {
      group: { firmware: '4.2.1' },
      metric: 'product.temperature',
      avg: [-20.5, -19.5],
      p95: [-19, -18.5],
      before: { avg: [-21, -21.5], p95: [-20, -20] },
    },
  ],
  covers: {
    from: '2026-11-21T14:00:00.000Z',
    to: '2026-11-21T14:30:00.000Z',
    completeUntil: '2026-11-21T14:20:51.000Z',
    source: 'mixed',
    tilesRolledUp: 47,
    tilesRaw: 2,
    partial: [],
    unknown: [{ metric: 'pressure' }],
    notNumeric: { 'product.temperature': 3 },
    devices: 49,
    values: 2_400,
  },
  cost: { units: 1_204, limit: 2_000_000, ms: 37.6 },
} satisfies SeriesAnswer;

describe('a question', () => {
  test('is its address, there and back', () => {
    const search = searchOf(question);
    expect(questionOf(Object.fromEntries(new URLSearchParams(search)), 'Europe/Paris')).toEqual(question);
  });

  test('has the usual values for what its address leaves out', () => {
    expect(questionOf({ metrics: 'temperature', send: 'raw' }, 'Europe/Paris')).toEqual({
      metrics: 'temperature',
      pattern: '*',
      agg: 'avg',
      groupBy: 'device',
      maxPoints: '300',
      from: 'now-24h',
      to: 'now',
      tz: 'Europe/Paris',
    });
    expect(questionOf({}, 'UTC')).toBeUndefined();
  });

  test.each([
    ['few devices have a line each', 8, 'device'],
    ['many have one together', 9, 'none'],
  ])('at the beginning: %s', (_, devices, groupBy) => {
    expect(firstQuestion('temperature', devices, 'UTC').groupBy).toBe(groupBy);
  });

  test.each([
    [
      'an interval takes the place of a number of buckets',
      { maxPoints: '300', pattern: '*' },
      { interval: '5m' },
      { interval: '5m', pattern: '*' },
    ],
    [
      'without an interval there is a number of buckets',
      { interval: '5m', pattern: '*' },
      { interval: undefined },
      { maxPoints: '300', pattern: '*' },
    ],
    ['a tag selects instead of all devices', { pattern: '*' }, { tag: 'site:north' }, { tag: 'site:north' }],
    ['without any selection it is about all', { tag: 'site:north' }, { tag: undefined }, { pattern: '*' }],
    [
      'a tag beside a pattern',
      { pattern: 'press-*' },
      { tag: 'site:north' },
      { pattern: 'press-*', tag: 'site:north' },
    ],
  ])('changed: %s', (_, before, change, after) => {
    expect(changed(before, change)).toEqual(after);
  });

  test('is read from an address of the API', () => {
    expect(questionOfHref('/api/v1/devices/press-7/series?metrics=temperature&agg=p95&interval=1h')).toEqual({
      devices: 'press-7',
      metrics: 'temperature',
      agg: 'p95',
      interval: '1h',
    });
  });

  test.each([
    [{ devices: 'press-7' }, undefined, 'press-7'],
    [{ devices: 'press-7,press-8' }, undefined, '2 devices'],
    [{ pattern: 'press-*' }, 12, 'press-*'],
    [{ pattern: '*' }, 1_248, 'all 1,248 devices'],
    [{ pattern: '*' }, undefined, 'all devices'],
    [{ tag: 'depot:lyon-est' }, 49, '49 devices'],
  ])('its devices in words: %j', (one, answered, text) => {
    expect(devicesText(one, answered)).toBe(text);
  });

  test.each([
    ['15m', '15\u00a0min'],
    ['1h', '1\u00a0h'],
    ['1w', '1 week'],
    ['3mo', '3 months'],
  ])('the length %s is %s', (length, text) => {
    expect(lengthText(length)).toBe(text);
  });

  test('names groups and tags as they are read', () => {
    expect([groupText('tag:firmware'), groupText('none'), groupText(undefined), tagText('depot:lyon-est')]).toEqual([
      'firmware',
      'nothing (one line)',
      'device',
      'depot = lyon-est',
    ]);
  });
});

describe('an answer', () => {
  const lines = linesOf(answer, question, () => '°C');

  test('has a line for each group and aggregate, labelled by what tells them apart', () => {
    expect(lines.map(({ label, unit }) => `${label} ${unit}`)).toEqual([
      '4.1.9 avg °C',
      '4.1.9 p95 °C',
      '4.2.1 avg °C',
      '4.2.1 p95 °C',
    ]);
  });

  test('is drawn with its comparison in the same colour', () => {
    const { data, drawn, of } = drawingOf(answer, lines, 900_000);
    expect([drawn, of]).toEqual([4, 4]);
    expect(data.series.map(({ label, slot, faint }) => [label, slot, faint === true]).slice(0, 4)).toEqual([
      ['4.1.9 avg', 0, false],
      ['4.1.9 avg before', 0, true],
      ['4.1.9 p95', 1, false],
      ['4.1.9 p95 before', 1, true],
    ]);
  });

  test('of many series draws the eight with the largest spread, in their order', () => {
    const series = Array.from({ length: 23 }, (_, index) => ({ deviceId: `d${index}`, metric: 'm', avg: [0, index] }));
    const many = { ...answer, series } satisfies SeriesAnswer;
    const { data, drawn, of } = drawingOf(
      many,
      linesOf(many, { metrics: 'm', agg: 'avg' }, () => ''),
      900_000,
    );
    expect([drawn, of]).toEqual([8, 23]);
    expect(data.series.map(({ id }) => id)).toEqual(Array.from({ length: 8 }, (_, index) => `d${index + 15} m avg`));
  });

  test('draws least and greatest values as the area of the average, and counts only alone', () => {
    const one = {
      ...answer,
      series: [{ deviceId: 'd', metric: 'm', avg: [2, 3], min: [1, 2], max: [3, 4], count: [60, 60] }],
    } satisfies SeriesAnswer;
    const { data } = drawingOf(
      one,
      linesOf(one, { metrics: 'm', agg: 'avg,min,max,count' }, () => ''),
      900_000,
    );
    expect(data.series).toEqual([
      { id: 'd m avg', label: 'd avg', unit: '', slot: 0, values: [2, 3], min: [1, 2], max: [3, 4] },
    ]);
  });

  test.each([
    [
      answer,
      [
        '2 buckets of 15\u00a0min × 2 groups in 38 ms',
        'from rollups, 2 of 49 hours from readings',
        'complete until 14:20:51',
        'cost 1,204 of 2,000,000',
      ],
    ],
    [
      { ...answer, covers: { ...answer.covers, source: 'raw', completeUntil: null } },
      [
        '2 buckets of 15\u00a0min × 2 groups in 38 ms',
        'from stored readings',
        'completeness not known',
        'cost 1,204 of 2,000,000',
      ],
    ],
    [
      {
        ...answer,
        resolution: '1h',
        stale: true,
        asOf: '2026-11-21T14:10:00.000Z',
        covers: { ...answer.covers, source: '1h' },
      },
      [
        '2 buckets of 15\u00a0min × 2 groups in 38 ms',
        'from rollups of hours',
        'only rollups of hours are left of the range',
        'complete until 14:20:51',
        'the database is away: answer of 14:10:00',
        'cost 1,204 of 2,000,000',
      ],
    ],
  ] as [SeriesAnswer, string[]][])('says how it was answered', (one, parts) => {
    expect(answeredText(one, 'tag:firmware', Date.UTC(2026, 10, 21, 14, 32))).toEqual(parts);
  });

  test('says what it leaves out', () => {
    expect(leftOutText(answer)).toBe(
      'Never seen: metric pressure. Left out: 3 values of product.temperature that are not numbers.',
    );
  });
});

describe('a question that is too dear', () => {
  const refusal = (nearest: object | undefined) => ({
    title: 'Too expensive',
    detail: '',
    status: 422,
    retryAfterMs: undefined,
    instance: undefined,
    problem: {
      type: 'urn:fleetwire:problem:too-expensive',
      detail: 'The question costs too much',
      cost: { units: 5_184_216, limit: 2_000_000 },
      ...(nearest !== undefined && { nearest }),
    } as never,
  });

  test.each([
    [{ changed: ['interval'], href: '/api/v1/series?pattern=*&metrics=m&interval=1h' }, 'Ask every 1\u00a0h instead'],
    [
      {
        changed: ['from'],
        href: '/api/v1/series?metrics=m&from=2026-10-18T16%3A00%3A00.000Z&to=2026-11-21T16%3A00%3A00.000Z',
      },
      'Ask for the last 34\u00a0d instead',
    ],
    [undefined, undefined],
  ])('offers the nearest one: %j', (nearest, label) => {
    const dear = tooDear(refusal(nearest));
    expect(dear?.text).toBe('It costs about 5,184,216 units; one question may cost 2,000,000.');
    expect(dear?.nearest?.label).toBe(label);
  });

  test('is no other failure', () => {
    expect(tooDear({ ...refusal(undefined), problem: { title: 'Not found' } })).toBeUndefined();
  });
});

describe('the same by hand', () => {
  test('in curl', () => {
    expect(
      byHand.curl({
        pattern: 'press-*',
        metrics: 'temperature',
        agg: 'avg',
        interval: '5m',
        from: 'now-24h',
        where: 'speed>0',
      }),
    ).toBe(
      `curl -sSfG "$FLEETWIRE/api/v1/series" \\
  -H "Authorization: Bearer $TOKEN" \\
  --data-urlencode 'pattern=press-*' \\
  -d metrics=temperature \\
  -d agg=avg \\
  --data-urlencode 'where=speed>0' \\
  -d interval=5m \\
  -d from=now-24h`,
    );
  });

  test('in SQL', () => {
    expect(byHand.SQL({ ...question, offset: undefined } as never)).toBe(
      `select date_bin('15 minutes', v.ts, timestamptz '2000-01-01') as bucket,
  substr(t, 10) as grp,
  avg(v.value),
  percentile_cont(0.95) within group (order by v.value) as p95
from api_v1.values v join api_v1.devices d using (device_id)
  join lateral unnest(d.tags) t on t like 'firmware:%'
where v.metric = 'product.temperature'
  and v.ts >= now() - interval '24 hours' and v.ts < now()
  and d.tags @> array['depot:lyon-est']
  and d.type = 'freezer'
group by 1, 2 order by 1, 2;`,
    );
  });

  test('in SQL with what SQL has no word for', () => {
    expect(
      byHand.SQL({
        pattern: 'a_b*',
        metrics: 'm',
        agg: 'rate',
        groupBy: 'none',
        maxPoints: '300',
        from: '2026-11-21',
        to: 'now/d',
      }),
    ).toBe(
      `-- rate has no short form in SQL: ask the API
-- the interval is chosen by the API: here are buckets of 5 minutes
select date_bin('5 minutes', v.ts, timestamptz '2000-01-01') as bucket
from api_v1.values v
where v.metric = 'm'
  and v.ts >= timestamptz '2026-11-21' and v.ts < date_trunc('day', now())
  and v.device_id like 'a\\_b%'
group by 1 order by 1;`,
    );
  });

  test('in pandas', () => {
    expect(byHand.pandas({ pattern: '*', metrics: 'm' })).toContain(
      '    "pattern": "*",\n    "metrics": "m",\n    "format": "csv",',
    );
  });

  test('exports ask for the range that was answered', () => {
    expect(exportUrl(question, answer.covers, 'readings', 'parquet')).toBe(
      '/api/v1/readings?tag=depot%3Alyon-est&type=freezer&metrics=product.temperature&from=2026-11-21T14%3A00%3A00.000Z&to=2026-11-21T14%3A30%3A00.000Z&format=parquet',
    );
    expect(exportUrl(question, answer.covers, 'table', 'csv')).toContain(
      'agg=avg%2Cp95&groupBy=tag%3Afirmware&interval=15m&from=2026-11-21T14',
    );
  });

  test('a job asks for the same, in the form of the API', () => {
    expect(exportRequest({ ...question, devices: 'a,b' }, answer.covers, 'parquet')).toEqual({
      devices: ['a', 'b'],
      tag: 'depot:lyon-est',
      type: 'freezer',
      metrics: ['product.temperature'],
      from: '2026-11-21T14:00:00.000Z',
      to: '2026-11-21T14:30:00.000Z',
      format: 'parquet',
    });
    expect(exportRequest({ pattern: '*', metrics: 'm' }, undefined, 'csv')).toMatchObject({
      from: 'now-24h',
      to: 'now',
    });
  });

  const now = Date.parse('2026-11-21T14:20:30.000Z');
  const job = {
    state: 'running',
    percent: 62,
    rows: 525_140,
    bytes: 3_800_000,
    attempt: 1,
    estimatedEndAt: '2026-11-21T14:20:34.000Z',
    finishedAt: null,
    expiresAt: null,
    problem: null,
  } as const;
  test.each([
    [{}, 'running', '62 % · 525,140 rows · 3.8 MB · 4 s left'],
    [{ attempt: 2, estimatedEndAt: null }, 'running, attempt 2', '62 % · 525,140 rows · 3.8 MB'],
    [{ state: 'queued', percent: null, rows: 0, bytes: 0 }, 'waits for its turn', ''],
    [
      { state: 'succeeded', finishedAt: '2026-11-21T14:20:00.000Z', expiresAt: '2026-11-22T14:20:00.000Z' },
      'ready, 14:20:00, kept for about 24 h',
      '525,140 rows · 3.8 MB',
    ],
    [
      { state: 'failed', problem: { title: 'Export too large', detail: 'No room' } },
      'failed',
      'Export too large. No room',
    ],
    [{ state: 'cancelled' }, 'cancelled', '525,140 rows · 3.8 MB'],
  ] as const)('a job with %o is %s', (changes, state, facts) => {
    const texts = jobTexts({ ...job, ...changes }, now);
    expect([texts.state, texts.facts].map((text) => text.replaceAll('\u00a0', ' '))).toEqual([state, facts]);
  });
});
