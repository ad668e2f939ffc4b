import { describe, expect, it } from 'vitest';
import { parseDeviceFrame } from '../src/device-protocol.ts';
import { limits } from '../src/limits.ts';

const now = Date.UTC(2026, 10, 21, 12);

function parse(frame: unknown) {
  return parseDeviceFrame(typeof frame === 'string' ? frame : JSON.stringify(frame), now);
}

function issueOf(frame: unknown) {
  const parsed = parse(frame);
  if (!parsed.ok) return parsed.issue;
  if (parsed.value.type !== 'telemetry') throw new Error('was taken');
  const [first] = parsed.value.telemetry.issues;
  if (first === undefined) throw new Error('was taken');
  return first.issue;
}

const reading = { type: 'telemetry', seq: 1, ts: now, metrics: { temperature: 21.5 } };

describe('the accepted forms of telemetry', () => {
  it('takes one reading, with the time as a number or as RFC 3339', () => {
    for (const ts of [now, '2026-11-21T12:00:00Z', '2026-11-21T13:00:00.000+01:00']) {
      expect(parse({ ...reading, ts })).toMatchObject({
        ok: true,
        value: { telemetry: { seq: 1, observations: [{ ts: now, metrics: { temperature: 21.5 } }], issues: [] } },
      });
    }
  });

  it('takes many readings under one seq', () => {
    const frame = { type: 'telemetry', seq: 7, readings: [1, 2, 3].map((n) => ({ ts: now + n, metrics: { n } })) };
    expect(parse(frame)).toMatchObject({
      ok: true,
      value: { telemetry: { seq: 7, observations: [{ metrics: { n: 1 } }, {}, { ts: now + 3 }] } },
    });
  });

  it('takes the small forms: device_id, a bare value, neither seq nor ts', () => {
    expect(parse({ type: 'telemetry', device_id: 'thermo-1', value: 20 })).toMatchObject({
      ok: true,
      value: {
        telemetry: { deviceId: 'thermo-1', seq: undefined, observations: [{ ts: now, metrics: { value: 20 } }] },
      },
    });
  });

  it('keeps numbers, booleans, strings and objects unchanged', () => {
    const metrics = { n: -0.1, b: false, s: 'on', o: { lat: 52.5, tags: ['a', null] } };
    expect(parse({ ...reading, metrics })).toMatchObject({
      ok: true,
      value: { telemetry: { observations: [{ metrics }] } },
    });
  });

  it('keeps the valid readings beside an invalid one', () => {
    const readings = [
      { ts: now, metrics: { a: 1 } },
      { ts: now, metrics: { a: null } },
      { ts: now, metrics: { a: 3 } },
    ];
    expect(parse({ type: 'telemetry', seq: 1, readings })).toMatchObject({
      ok: true,
      value: {
        telemetry: {
          observations: [{ metrics: { a: 1 } }, undefined, { metrics: { a: 3 } }],
          issues: [{ index: 1, issue: { field: 'readings[1].metrics.a' } }],
        },
      },
    });
  });
});

const nameOf10kB = 'x'.repeat(10_000);
const deep = JSON.parse('{"a":'.repeat(6) + '1' + '}'.repeat(6)) as object;

it('a frame that is refused whole gives the number of its readings', () => {
  const readings = Array.from({ length: 1_001 }, () => ({ ts: now, value: 1 }));
  expect(parse({ type: 'telemetry', seq: 5, readings })).toMatchObject({ ok: false, seq: 5, count: 1_001 });
  expect(parse({ ...reading, deviceId: '/' })).toMatchObject({ ok: false, seq: 1, count: 1 });
});

describe('a frame that is refused whole', () => {
  it.each([
    ['an unknown type', { type: 'telemetri', seq: 5, readings: [{}, {}] }, { seq: 5, count: 2, isUnreadable: false }],
    ['no type', { seq: 5, value: 1 }, { seq: 5, count: 1, isUnreadable: false }],
    [
      'an empty list of readings',
      { type: 'telemetry', seq: 5, readings: [] },
      { seq: 5, count: 0, isUnreadable: false },
    ],
    ['neither type nor readings', { hello: 1 }, { seq: undefined, count: 0, isUnreadable: false }],
    ['readings that are no list', { ...reading, readings: { a: 1 } }, { seq: 1, count: 1, isUnreadable: true }],
    ['a seq of text', { ...reading, seq: '1' }, { seq: undefined, count: 0, isUnreadable: true }],
    ['a device id that is no text', { ...reading, deviceId: 7 }, { seq: undefined, count: 0, isUnreadable: true }],
    ['text that is not JSON', '{"type":"telemetry","seq":1', { seq: undefined, count: 0, isUnreadable: true }],
    ['a list', [reading], { seq: undefined, count: 0, isUnreadable: true }],
  ])('gives its numbers where they can be read: %s', (_name, frame, expected) => {
    expect(parse(frame)).toMatchObject({ ok: false, ...expected });
  });
});

it('takes a text that is not stored with any character in it', () => {
  expect(parse({ ...reading, comment: 'a\0b' })).toMatchObject({ ok: true, value: { telemetry: { issues: [] } } });
});

describe('invalid input gets an error that names the field and the limit', () => {
  it.each([
    ['not JSON', '{"type":', 'malformed-json', /not JSON/],
    ['not an object', '[1]', 'wrong-type', /must be a JSON object/],
    ['no type', { seq: 1 }, 'missing-field', /accepted types are telemetry, ping/],
    ['an unknown type', { type: 'telemtry' }, 'unknown-type', /accepted types are telemetry, ping/],
    ['no metrics', { type: 'telemetry', seq: 1, ts: now }, 'missing-field', /metrics is missing/],
    ['a seq without a time', { type: 'telemetry', seq: 1, value: 1 }, 'missing-field', /ts is missing/],
    ['a negative seq', { ...reading, seq: -1 }, 'limit-exceeded', /seq/],
    ['a fractional seq', { ...reading, seq: 1.5 }, 'wrong-type', /seq/],
    ['a seq of text', { ...reading, seq: '1' }, 'wrong-type', /seq/],
    [
      'a number that is not finite',
      '{"type":"telemetry","seq":1,"ts":1795262400000,"metrics":{"t":1e999}}',
      'not-finite',
      /metrics\.t/,
    ],
    [
      'a nested number that is not finite',
      '{"type":"telemetry","seq":1,"ts":1795262400000,"metrics":{"t":{"x":1e999}}}',
      'not-finite',
      /metrics\.t\.x/,
    ],
    ['no metric at all', { ...reading, metrics: {} }, 'missing-field', /at least one/],
    ['metrics that are a list', { ...reading, metrics: [1] }, 'wrong-type', /metrics/],
    ['a null metric', { ...reading, metrics: { t: null } }, 'wrong-type', /metrics\.t must be .* not null/],
    ['a metric that is a list', { ...reading, metrics: { t: [1] } }, 'wrong-type', /not an array/],
    [
      'ten thousand metrics',
      { ...reading, metrics: Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`m${i}`, i])) },
      'limit-exceeded',
      /metricsPerReadingMax/,
    ],
    [
      'a metric name of 10 kB',
      { ...reading, metrics: { [nameOf10kB]: 1 } },
      'limit-exceeded',
      /metricNameCharactersMax/,
    ],
    ['an empty metric name', { ...reading, metrics: { '': 1 } }, 'forbidden-name', /empty name/],
    ['a text of 10 kB', { ...reading, metrics: { t: nameOf10kB } }, 'limit-exceeded', /textValueCharactersMax/],
    ['deep nesting in a value', { ...reading, metrics: { t: deep } }, 'limit-exceeded', /objectValueDepthMax/],
    [
      'very deep nesting in a value',
      '{"type":"telemetry","x":"\\u0041","value":{"y":' + '['.repeat(50_000) + ']'.repeat(50_000) + '}}',
      'limit-exceeded',
      /objectValueDepthMax/,
    ],
    ['a large object', { ...reading, metrics: { t: { a: nameOf10kB } } }, 'limit-exceeded', /objectValueBytesMax/],
    [
      'the name __proto__',
      '{"type":"telemetry","seq":1,"ts":1795262400000,"metrics":{"__proto__":1}}',
      'forbidden-name',
      /__proto__/,
    ],
    ['the name constructor', { ...reading, metrics: { constructor: 1 } }, 'forbidden-name', /constructor/],
    [
      'a nested prototype name',
      '{"type":"telemetry","seq":1,"ts":1795262400000,"metrics":{"t":{"__proto__":1}}}',
      'forbidden-name',
      /metrics\.t/,
    ],
    ['a NUL character', { ...reading, metrics: { t: 'a\0b' } }, 'unstorable-text', /metrics\.t contains a NUL/],
    ['half a surrogate pair', { ...reading, metrics: { t: '\ud800' } }, 'unstorable-text', /surrogate/],
    ['the year 1970', { ...reading, ts: 1_000 }, 'timestamp-out-of-range', /timestampMinMs/],
    ['seconds for milliseconds', { ...reading, ts: now / 1_000 }, 'timestamp-out-of-range', /looks like seconds/],
    ['the year 2200', { ...reading, ts: '2200-01-01T00:00:00Z' }, 'timestamp-out-of-range', /clockAheadMaxMs/],
    ['a time without an offset', { ...reading, ts: '2026-11-21T12:00:00' }, 'wrong-type', /RFC 3339/],
    ['a day that does not exist', { ...reading, ts: '2026-13-41T12:00:00Z' }, 'not-finite', /ts/],
    ['a device id with a slash', { ...reading, deviceId: '../etc' }, 'wrong-type', /deviceId/],
    [
      'too many readings',
      { type: 'telemetry', seq: 1, readings: Array.from({ length: 1_001 }, () => ({ ts: now, value: 1 })) },
      'limit-exceeded',
      /readingsPerFrameMax/,
    ],
    ['no readings', { type: 'telemetry', seq: 1, readings: [] }, 'missing-field', /readings is empty/],
    [
      'numbers past the last',
      {
        type: 'telemetry',
        seq: limits.seqMax,
        readings: [
          { ts: now, value: 1 },
          { ts: now, value: 2 },
        ],
      },
      'limit-exceeded',
      /seqMax/,
    ],
  ])('%s', (_name, frame, code, message) => {
    const issue = issueOf(frame);
    expect(issue.message).toMatch(message);
    expect(issue.code).toBe(code);
  });

  it('gives the seq and the stream of a refused frame where they can be read', () => {
    expect(parse({ ...reading, seq: 9, deviceId: 'a', readings: 3 })).toMatchObject({
      ok: false,
      seq: 9,
      deviceId: 'a',
    });
  });
});
