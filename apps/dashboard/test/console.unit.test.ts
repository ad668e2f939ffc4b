import { beforeAll, describe, expect, test } from 'vitest';
import { viewer } from '../src/format.ts';
import { zone } from '../src/times.ts';
import { matcherOf, parseFilter } from '../src/views/console/filter.ts';
import { issueOfFrame } from '../src/views/console/frame-check.ts';
import { type LogLine, linesOfFrame } from '../src/views/console/log-lines.ts';
import { LogStore, keptMax, ndjsonOf } from '../src/views/console/log-store.ts';
import { typedMetrics, typedValue } from '../src/views/console/metrics-input.ts';
import { commandHops, readingHops, resumedText } from '../src/views/console/sentences.ts';
import { threeLines } from '../src/views/sign-in/three-lines.ts';
import { firstReadingHops } from '../src/views/sign-in/sentences.ts';

beforeAll(() => {
  viewer.locale = 'en-GB';
  zone.value = 'UTC';
});

const at = Date.UTC(2026, 10, 21, 14, 32, 10);
const sent = { reading: () => at - 6, command: () => at - 212 };
const lines = (direction: 'sent' | 'received', frame: object) =>
  linesOfFrame(direction, JSON.stringify(frame), at, sent);

describe('lines of the log', () => {
  test('a frame with several readings has a line for each', () => {
    const metrics = { temperature: -18.1, label: 'A1\u0000', speed: 84, a: 1, b: 2 };
    const found = lines('received', {
      type: 'data_update',
      readings: [
        { deviceId: 'truck-1', epoch: 'b', seq: 9_593, ts: '', metrics },
        { deviceId: 'truck-2', epoch: 'b', seq: 1, ts: '', metrics: { on: true } },
      ],
    });
    expect(found.map(({ type, deviceId, content, seq }) => [type, deviceId, content, seq])).toEqual([
      ['data', 'truck-1', String.raw`temperature −18.1 · label "A1\u0000" · speed 84 · +2`, 9_593],
      ['data', 'truck-2', 'on true', 1],
    ]);
  });

  test.each([
    [
      'received',
      { type: 'ack', upTo: 12, deviceId: 'bench-1' },
      ['ack', 'settled', 'none', 'bench-1', 'up to seq 12 · 6 ms after sending'],
    ],
    [
      'received',
      { type: 'stored', upTo: 9, deviceId: 'bench-1' },
      ['stored', 'settled', 'ok', 'bench-1', 'up to seq 9 · 6 ms after sending'],
    ],
    [
      'received',
      { type: 'dead', seq: 7, reason: 'refused-by-database', message: '22P05', deviceId: 'f' },
      ['dead', 'settled', 'warn', 'f', 'seq 7 · refused-by-database 22P05'],
    ],
    [
      'received',
      { type: 'presence', deviceId: 'f', status: 'stale', reason: 'silent' },
      ['stale', 'presence', 'warn', 'f', 'reason: silent'],
    ],
    [
      'received',
      { type: 'error', code: 'wrong-type', message: 'metrics.t must be a number' },
      ['error', 'other', 'crit', '', 'wrong-type: metrics.t must be a number'],
    ],
    [
      'sent',
      { type: 'telemetry', deviceId: 'b', seq: 12, metrics: { t: 1 } },
      ['telemetry', 'data', 'wire', 'b', '{"seq":12,"metrics":{"t":1}}'],
    ],
    [
      'received',
      { type: 'command', deviceId: 'b', commandId: 'c', command: 'set', state: 'succeeded' },
      ['succeeded', 'control', 'ok', 'b', 'set → succeeded in 212 ms'],
    ],
    ['sent', { type: 'ping' }, ['ping', 'other', 'wire', '', '']],
  ] as const)('%s %j', (direction, frame, [type, kind, tone, deviceId, content]) => {
    expect(lines(direction, frame)).toMatchObject([{ type, kind, tone, deviceId, content }]);
  });

  test('text that is not JSON is a line of its own', () => {
    expect(linesOfFrame('sent', '{"metrics":NaN}', at, sent)).toMatchObject([
      { type: 'text', content: '{"metrics":NaN}' },
    ]);
  });
});

const line = (more: Partial<LogLine>): LogLine => ({
  at,
  direction: 'received',
  kind: 'data',
  type: 'data',
  tone: 'none',
  deviceId: 'frz-0204',
  content: 'temperature −22',
  seq: 1,
  body: { seq: 1 },
  ...more,
});

describe('the filter', () => {
  test.each([
    ['', true],
    ['device:frz-02*', true],
    ['device:truck-1,frz-0204', true],
    ['device:frz-03*', false],
    ['device:frz-0?04', true],
    ['TEMPERATURE', true],
    ['temperature speed', false],
  ])('%s', (text, matches) => {
    const parsed = parseFilter(text);
    expect(parsed.ok && matcherOf(parsed.filter, new Set(['data']))(line({}))).toBe(matches);
  });

  test('chosen kinds only, and lines without a device for any device', () => {
    const matches = matcherOf({ devices: ['x'], words: [] }, new Set(['other']));
    expect([matches(line({})), matches(line({ kind: 'other', deviceId: '' }))]).toEqual([false, true]);
  });

  test('says what it does not take', () => {
    expect(parseFilter('device:a/b')).toMatchObject({ ok: false, why: expect.stringContaining('"a/b" is no device') });
    expect(parseFilter(`device:${Array.from({ length: 21 }, (_, n) => `d${n}`).join(',')}`)).toMatchObject({
      ok: false,
    });
  });
});

describe('the store of the log', () => {
  test('keeps the newest lines up to its bound and counts all', () => {
    const store = new LogStore();
    for (let n = 0; n < keptMax + 1_500; n += 500)
      store.add(Array.from({ length: 500 }, (_, index) => line({ seq: n + index })));
    expect(store.lines).toHaveLength(keptMax);
    expect(store.lines.at(-1)).toMatchObject({ seq: keptMax + 1_499, number: keptMax + 1_499 });
    expect(store.count).toBe(keptMax + 1_500);
  });

  test('gives lines as NDJSON in the order in which they came', () => {
    expect(ndjsonOf([line({}), line({ direction: 'sent', body: { type: 'ping' } })])).toBe(
      '{"at":"2026-11-21T14:32:10.000Z","direction":"received","frame":{"seq":1}}\n{"at":"2026-11-21T14:32:10.000Z","direction":"sent","frame":{"type":"ping"}}\n',
    );
  });
});

describe('what is typed', () => {
  test.each([
    ['21.5', 21.5],
    ['-1e3', -1_000],
    ['true', true],
    ['"21"', '21'],
    ['open', 'open'],
    ['{"a":1}', { a: 1 }],
  ])('%s', (text, value) => expect(typedValue(text)).toEqual(value));

  test('metrics by line', () => {
    expect(typedMetrics(['temperature = 21.5', '', 'on=true'])).toEqual({
      ok: true,
      metrics: { temperature: 21.5, on: true },
    });
    expect(typedMetrics(['temperature'])).toMatchObject({
      ok: false,
      why: expect.stringContaining('no name and value'),
    });
    expect(typedMetrics([''])).toMatchObject({ ok: false });
  });

  test.each([
    ['{"type":"telemetry","metrics":{"temperature":21.5}}', undefined],
    ['{"type":"telemetry","metrics":{"temperature":[1]}}', 'metrics.temperature'],
    ['{"type":"telemetri"}', 'type is not known'],
    ['{"type":', 'not JSON'],
    ['{"type":"subscribe","pattern":"*"}', 'lacks "id"'],
    ['{"type":"control","target":"b","command":"set"}', undefined],
    ['{"type":"ping"}', undefined],
  ])('a frame is checked by the contract: %s', (text, issue) => {
    const found = issueOfFrame(text, at);
    if (issue === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(issue);
  });
});

describe('the way of what was sent', () => {
  const reading = { deviceId: 'b', seq: 12, frame: '', sentAt: at };
  test.each([
    [reading, undefined, ['sent done', 'received waiting', 'confirmed waiting', 'stored waiting']],
    [
      { ...reading, receivedAt: at + 2, confirmedAt: at + 6 },
      78_000,
      ['sent done', 'received 2 ms done', 'confirmed 6 ms done', 'stored ≈ 1\u00a0min 18\u00a0s waiting'],
    ],
    [
      { ...reading, receivedAt: at + 2, confirmedAt: at + 6, storedAt: at + 60 },
      0,
      ['sent done', 'received 2 ms done', 'confirmed 6 ms done', 'stored 60 ms done'],
    ],
    [
      { ...reading, receivedAt: at + 2, failure: 'refused: too large' },
      0,
      ['sent done', 'received 2 ms done', 'confirmed failed', 'refused failed'],
    ],
  ])('of a reading', (one, behindMs, hops) => {
    expect(
      readingHops(one, behindMs).map(({ label, note, state }) => [label, note, state].filter(Boolean).join(' ')),
    ).toEqual(hops);
  });

  test('of a command', () => {
    const command = { sentAt: at, createdAt: at, writtenAt: at + 3, deliveredAt: undefined, finishedAt: at + 40 };
    expect(commandHops({ ...command, state: 'succeeded' }).map(({ label, state }) => `${label} ${state}`)).toEqual([
      'queued done',
      'sent done',
      'delivered done',
      'answered done',
    ]);
    expect(commandHops({ ...command, state: 'timed-out' }).map(({ label, state }) => `${label} ${state}`)).toEqual([
      'queued done',
      'sent done',
      'delivered failed',
      'timed-out failed',
    ]);
  });

  test.each([
    [{ times: 0, at: undefined, lostForMs: undefined, caughtUp: true, openGaps: 0 }, 'never', ''],
    [
      { times: 1, at, lostForMs: 2_100, caughtUp: true, openGaps: 0 },
      'once 14:32:10, after 2.1\u00a0s: ',
      'nothing missing',
    ],
    [
      { times: 1, at, lostForMs: 2_100, caughtUp: false, openGaps: 0 },
      'once 14:32:10, after 2.1\u00a0s: ',
      'what was missed is on its way',
    ],
    [
      { times: 3, at, lostForMs: 500, caughtUp: true, openGaps: 2 },
      '3 times, last 14:32:10, after 0.5\u00a0s: ',
      '2 gaps being filled',
    ],
  ])('of the connection: %j', (facts, text, verdict) => {
    expect(resumedText(facts)).toEqual({ text, verdict });
  });

  test('of the first reading', () => {
    const first = {
      deviceId: 'b',
      epoch: 'e',
      seq: 0,
      receivedAt: at,
      confirmedAt: at + 6,
      storedAt: undefined,
      dead: undefined,
    };
    const words = (hops: ReturnType<typeof firstReadingHops>) =>
      hops.map(({ label, note, state }) => `${label}: ${note} ${state}`);
    expect(words(firstReadingHops(undefined, at))[0]).toBe('received: waiting for the reading waiting');
    expect(words(firstReadingHops(first, at + 400))).toEqual([
      'received: 14:32:10.000 done',
      'in the queue: of RabbitMQ, on disk done',
      'acknowledged: within 6 ms: cannot be lost now done',
      'stored: waiting, 0.4\u00a0s waiting',
    ]);
    expect(words(firstReadingHops({ ...first, storedAt: at + 250 }, at))[3]).toBe('stored: within 250 ms done');
  });
});

describe('three lines', () => {
  test.each(['Shell', 'Node', 'Python'] as const)(
    'of %s carry the token, or name the device where none is asked for',
    (language) => {
      const target = { origin: 'http://127.0.0.1:8000', deviceId: 'bench-1' };
      const withToken = threeLines(language, { ...target, token: 'eyJ.x.y' });
      expect(withToken.split('\n')).toHaveLength(3);
      expect(withToken).toContain('eyJ.x.y');
      expect(withToken).not.toContain('deviceId');
      const without = threeLines(language, { ...target, token: undefined });
      expect(without.split('\n')).toHaveLength(3);
      expect(without).toContain('"deviceId":"bench-1"');
      expect(without).not.toMatch(/authorization/i);
    },
  );
});
