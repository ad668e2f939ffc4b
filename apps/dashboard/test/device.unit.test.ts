import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { viewer } from '../src/format.ts';
import { limitOf, unitOf } from '../src/metadata.ts';
import { zone, zoneOffsetMs } from '../src/times.ts';
import { bootBand, gapBand, offlineTimes, presenceBand, stateBand, statesAt } from '../src/views/device/bands.ts';
import {
  type Envelope,
  type TimedReading,
  chooseInterval,
  cutOf,
  emptyRuns,
  intervalMs,
  joinLive,
} from '../src/views/device/buckets.ts';
import { commandText, parseCommand } from '../src/views/device/command-text.ts';
import { copyAs } from '../src/views/device/copy-as.ts';
import { dropBefore, type LiveReadings, take } from '../src/views/device/held-readings.ts';
import { deviceSentence, newestEpisode } from '../src/views/device/sentences.ts';

viewer.locale = 'en-GB';
zone.value = 'Europe/Berlin';
const at = (text: string) => Date.parse(`2026-11-21T${text}Z`);
const plain = (text: string) => text.replaceAll('\u00a0', ' ');
const reading = (time: number, value: number): TimedReading => ({
  deviceId: 'd',
  epoch: 'e',
  seq: time,
  ts: '',
  at: time,
  metrics: { m: value },
});

/** What the API answers for all readings of a range. */
function answered(readings: readonly TimedReading[], from: number, to: number, bucketMs: number): Envelope {
  return joinLive({ t: [], bucketMs, metrics: { m: { avg: [], min: [], max: [] } } }, readings, from, to);
}

describe('live readings', () => {
  const none = (): LiveReadings => ({
    readings: [],
    identities: new Set(),
    from: 0,
    latest: new Map(),
    lastSeq: new Map(),
    commandChanges: 0,
    problem: undefined,
  });

  test('are held until history has them, each once; the newest stay, and so does one that came late', () => {
    const live = none();
    for (const time of [1, 2, 2, 3, 1, 4]) take(live, reading(time, time));
    expect(live.readings.map(({ at }) => at)).toEqual([1, 2, 3, 4]);
    for (let time = 5; time <= 2_000; time += 1) take(live, reading(time, time));
    dropBefore(live, 500);
    expect(live.readings.map(({ at }) => at)).toEqual(Array.from({ length: 1_501 }, (_, index) => 500 + index));
    dropBefore(live, 3_000);
    expect(live.readings.map(({ at }) => at)).toEqual(Array.from({ length: 1_000 }, (_, index) => 1_001 + index));
    expect(live.from).toBe(3_000);
    expect(live.identities.size).toBe(1_000);
    take(live, reading(7, 7));
    expect(live.readings.at(-1)).toMatchObject({ at: 7 });
    expect(live.latest.get('m')).toEqual({ value: 2_000, at: 2_000 });
  });

  test.each([
    ['in order', (index: number) => index],
    ['all of one time', () => 7],
  ])('are bounded while no history comes: %s', (_order, timeOf) => {
    const live = none();
    for (let index = 0; index < 50_000; index += 1) take(live, { ...reading(timeOf(index), 0), seq: index });
    expect(live.readings.length).toBeLessThanOrEqual(20_000);
    expect(live.identities.size).toBe(live.readings.length);
    expect(live.from).toBeGreaterThan(0);
  });
});

describe('history and live', () => {
  test('are one series without a seam, wherever the cut is', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 599 }), fc.integer({ min: -50, max: 50 })), {
          minLength: 1,
          maxLength: 200,
        }),
        fc.integer({ min: 0, max: 59 }),
        (values, cutBucket) => {
          const readings = values.map(([time, value]) => reading(time, value));
          const whole = answered(readings, 0, 600, 10);
          const cutAt = cutBucket * 10;
          // History holds what was stored when it was asked for; the bucket at the cut was not whole then.
          const history = answered(
            readings.filter((one) => one.at < cutAt + 5),
            0,
            cutAt + 5,
            10,
          );
          const joined = joinLive(
            history,
            readings.filter((one) => one.at >= cutAt),
            cutAt,
            600,
          );
          expect(joined.t).toEqual(whole.t);
          expect(joined.metrics['m']!.min).toEqual(whole.metrics['m']!.min);
          expect(joined.metrics['m']!.max).toEqual(whole.metrics['m']!.max);
          for (const [index, avg] of joined.metrics['m']!.avg.entries()) {
            const expected = whole.metrics['m']!.avg[index]!;
            if (avg === null || expected === null) expect(avg).toBe(expected);
            else expect(avg).toBeCloseTo(expected, 9);
          }
        },
      ),
    );
  });

  test('an empty bucket is a gap, also where it is live', () => {
    const joined = joinLive(
      { t: [0], bucketMs: 10, metrics: { m: { avg: [1], min: [1], max: [1] } } },
      [reading(35, 4)],
      10,
      40,
    );
    expect(joined.t).toEqual([0, 10, 20, 30]);
    expect(joined.metrics['m']!.avg).toEqual([1, null, null, 4]);
  });

  test.each([
    ['at the last whole bucket that is stored', 125, 98, 0, 90],
    ['at the question where that is not known', 125, undefined, 0, 120],
    ['never before the stream begins', 125, 98, 101, 110],
  ])('are cut %s', (_what, askedAt, completeUntil, streamFrom, cut) => {
    expect(cutOf(askedAt, completeUntil, streamFrom, 10)).toBe(cut);
  });
});

test('times without readings are found, the longest first, and not before the first reading', () => {
  const t = [0, 10, 20, 30, 40, 50, 60, 70, 80];
  const avg = [null, 1, null, 1, null, null, 1, null, null];
  expect(emptyRuns({ t, bucketMs: 10, metrics: { m: { avg, min: avg, max: avg } } })).toEqual([{ from: 40, to: 60 }]);
});

test.each([
  [900_000, 520, '2s'],
  [3 * 3_600_000, 520, '30s'],
  [86_400_000, 520, '5m'],
  [7 * 86_400_000, 520, '20m'],
  [60 * 86_400_000, 520, '3h'],
])('a range of %d ms in %d buckets has the interval %s', (rangeMs, buckets, text) => {
  expect(chooseInterval(rangeMs, buckets).text).toBe(text);
  expect(intervalMs(text)).toBe(chooseInterval(rangeMs, buckets).ms);
});

test('a device that sends each minute has no empty buckets between its readings, and a short range has some buckets', () => {
  expect(chooseInterval(3 * 3_600_000, 520, 120_000).text).toBe('2m');
  expect(chooseInterval(900_000, 520, 120_000).text).toBe('2m');
  expect(chooseInterval(86_400_000, 520, 120_000).text).toBe('5m');
});

describe('bands', () => {
  const from = at('11:00:00');
  const to = at('14:00:00');

  test('presence names the edge where it changes, and why the device was offline', () => {
    const band = presenceBand(
      [
        { edge: 'ingest-1', epoch: 'b', startedAt: '2026-11-21T13:30:00Z', endedAt: null, reason: null },
        {
          edge: 'ingest-3',
          epoch: 'a',
          startedAt: '2026-11-21T10:00:00Z',
          endedAt: '2026-11-21T12:00:00Z',
          reason: 'edge-lost',
        },
      ],
      from,
      to,
    );
    expect(band.segments).toEqual([
      { from, to: at('12:00:00'), text: 'online on ingest-3', short: 'online', look: 'on' },
      { from: at('12:00:00'), to: at('13:30:00'), text: 'offline, edge lost', short: 'offline', look: 'faint' },
      { from: at('13:30:00'), to, text: 'online on ingest-1', short: 'online', look: 'on' },
    ]);
  });

  test('a time between two connections may have been bridged; one that goes on is not over', () => {
    const connection = (startedAt: string, endedAt: string | null) => ({
      edge: 'e',
      epoch: 'a',
      startedAt: `2026-11-21T${startedAt}Z`,
      endedAt: endedAt === null ? null : `2026-11-21T${endedAt}Z`,
      reason: 'closed',
    });
    const there = [connection('10:00:00', '12:00:00'), connection('12:10:00', '13:00:00')];
    expect(offlineTimes(presenceBand(there, from, to), to)).toEqual([{ from: at('12:00:00'), to: at('12:10:00') }]);
    expect(offlineTimes(presenceBand([...there, connection('13:30:00', null)], from, to), to)).toHaveLength(2);
  });

  test('gaps are of two kinds, and late readings are none', () => {
    const times = { from: at('12:00:00'), to: at('12:10:00') };
    const band = gapBand(
      [
        { ...times, missing: 188, epoch: 'b-7f21', firstSeq: 18_204 },
        { ...times, missing: 0, epoch: undefined, firstSeq: undefined },
      ],
      [{ ...times, readings: 488 }],
    );
    expect(band.segments.map(({ text, look }) => [text, look])).toEqual([
      ['seq 18,204–18,391 of b-7f21 never arrived', 'hole'],
      ['', 'faint'],
      ['488 readings came late, all stored', 'late'],
    ]);
  });

  test('a boot lasts until the next one', () => {
    const band = bootBand(
      [
        { edge: 'e', epoch: 'b2', startedAt: '2026-11-21T12:00:00Z', endedAt: null, reason: null },
        { edge: 'e', epoch: 'b1', startedAt: '2026-11-21T09:00:00Z', endedAt: null, reason: null },
      ],
      from,
      to,
    );
    expect(band.segments.map((one) => [one.text, one.from, one.to])).toEqual([
      ['b1', from, at('12:00:00')],
      ['b2', at('12:00:00'), to],
    ]);
  });

  test('a state is that of the most time in each bucket, and goes on until now', () => {
    const bucketMs = 600_000;
    const t = Array.from({ length: 4 }, (_, index) => from + index * bucketMs);
    const buckets = [
      [{ value: 'closed', ms: 600_000 }],
      [
        { value: 'open', ms: 400_000 },
        { value: 'closed', ms: 200_000 },
      ],
      null,
      [{ value: 'closed', ms: 1 }],
    ];
    const band = stateBand(
      'door',
      t,
      buckets,
      bucketMs,
      { from, to: from + 5 * bucketMs },
      { value: 'closed', at: from + 5 * bucketMs - 1_000 },
    );
    expect(
      band.segments.map((one) => [one.text, (one.from - from) / bucketMs, (one.to - from) / bucketMs, one.look]),
    ).toEqual([
      ['closed', 0, 1, 'plain'],
      ['open', 1, 2, 'marked'],
      ['closed', 3, 5, 'plain'],
    ]);
    expect(statesAt([band], from + 1.5 * bucketMs)).toBe('door open');
    expect(statesAt([band], from + 2.5 * bucketMs)).toBe('');
  });
});

describe('the sentence of a device', () => {
  const now = at('13:32:10');
  const facts = {
    deviceId: 'truck-0388',
    name: 'Reefer 388',
    presence: { status: 'online', reason: 'connected', since: '2026-11-21T13:00:00Z' } as const,
    expectedIntervalMs: 5_000,
    lastSeenAt: now - 1_384_000,
    value: { value: -18.1, unit: '°C' },
    episode: undefined,
    now,
  };
  const episode = {
    from: at('12:50:00'),
    to: at('12:56:00'),
    isOpen: false,
    side: 'above',
    limit: -15,
    unit: '°C',
  } as const;
  test.each([
    [facts, 'Reefer 388 is online at −18.1 °C.'],
    [{ ...facts, episode }, 'Reefer 388 is online at −18.1 °C. It was above −15 °C for 6 min from 13:50.'],
    [
      { ...facts, episode: { ...episode, isOpen: true } },
      'Reefer 388 is online at −18.1 °C. It is above −15 °C for 6 min.',
    ],
    [
      { ...facts, presence: { status: 'stale', reason: 'silent', since: '2026-11-21T13:10:00Z' } as const },
      'Reefer 388 is silent for 23 min 4 s, usually every 5 s.',
    ],
    [
      {
        ...facts,
        name: null,
        presence: { status: 'offline', reason: 'edge-lost', since: '2026-11-18T09:32:10Z' } as const,
      },
      'truck-0388 is offline for 3 d 4 h, edge lost.',
    ],
    [{ ...facts, presence: null }, 'Reefer 388 has not connected yet.'],
  ])('%#: %s', (words, text) => {
    expect(plain(deviceSentence(words).text)).toBe(text);
  });

  test('tells of the newest time over a limit', () => {
    const t = [0, 10, 20, 30, 40, 50];
    expect(newestEpisode(t, [1, 9, 1, 9, 9, 1], 10, { above: 5 }, '')).toMatchObject({
      from: 30,
      to: 50,
      isOpen: false,
    });
    expect(newestEpisode(t, [1, 9, 1, 1, 1, 9], 10, { above: 5 }, '')).toMatchObject({
      from: 50,
      to: 60,
      isOpen: true,
    });
    expect(newestEpisode(t, [1, 9, 1, 1, 1, 1], 10, { below: 0 }, '')).toBeUndefined();
  });
});

describe('what is shown, for other tools', () => {
  const question = {
    origin: 'https://fleet.example',
    deviceId: "it's",
    metrics: ['air.return', 'battery'],
    from: 'now-3h',
    to: 'now',
    interval: '30s',
  };
  test('curl asks the same series', () => {
    expect(copyAs('curl', question)).toBe(
      `curl -s -H "Authorization: Bearer $TOKEN" \\\n  'https://fleet.example/api/v1/devices/it%27s/series?metrics=air.return,battery&agg=avg,min,max&from=now-3h&interval=30s'`,
    );
  });
  test('SQL quotes names, and writes typed times', () => {
    const sql = copyAs('SQL', { ...question, from: 'now-1d/d', to: '2026-11-21T14:00:00Z' });
    expect(sql).toContain("device_id = 'it''s' and metric in ('air.return', 'battery')");
    expect(sql).toContain(
      "ts >= date_trunc('day', now() - interval '1 days') and ts < timestamptz '2026-11-21T14:00:00Z'",
    );
    expect(sql).toContain("date_bin('30 seconds', ts");
  });
  test('pandas and Grafana name the metrics', () => {
    expect(copyAs('pandas', question)).toContain('metrics=air.return,battery');
    expect(copyAs('Grafana', question)).toContain("$__timeGroupAlias(ts, '30 seconds')");
  });
});

test.each([
  ['report-now', { command: 'report-now' }],
  ['  set-point −18 ', { command: 'set-point', args: -18 }],
  ['mode {"value":"cooling"}', { command: 'mode', args: { value: 'cooling' } }],
  ['say hello there', { command: 'say', args: 'hello there' }],
  ['  ', undefined],
])('the typed command "%s"', (typed, command) => {
  expect(parseCommand(typed)).toEqual(command);
});

test('a command is shown with its arguments', () => {
  expect(commandText({ command: 'set-point', args: -18 })).toBe('set-point -18');
  expect(commandText({ command: 'report-now', args: {} })).toBe('report-now');
});

test('units and limits come from the metadata, and nothing else is taken for one', () => {
  expect(unitOf({ units: { a: '°C', b: 3 } }, 'a')).toBe('°C');
  expect(unitOf({ units: { a: '°C', b: 3 } }, 'b')).toBe('');
  expect(unitOf({ units: 'x' }, 'a')).toBe('');
  expect(limitOf({ limits: { a: { above: -15, below: 'x' } } }, 'a')).toEqual({ above: -15 });
  expect(limitOf(undefined, 'a')).toBeUndefined();
});

test('the offset of a zone is that of the time', () => {
  expect(zoneOffsetMs(at('12:00:00'))).toBe(3_600_000);
  expect(zoneOffsetMs(Date.parse('2026-07-01T12:00:00.500Z'))).toBe(7_200_000);
});
