import { describe, expect, it } from 'vitest';
import { parsePlainData, parsePlainFrame, plainTime, plainUpdate, plainValueOf } from '../src/plain-dialect.ts';

const now = Date.UTC(2026, 10, 21, 16, 0, 0, 123);
const metricsOf = (value: unknown) => {
  const frame = parsePlainFrame(JSON.stringify({ type: 'telemetry', device_id: 'd', value }), now, false);
  return frame.ok && frame.value.type === 'telemetry' ? frame.value.telemetry.observations[0]?.metrics : undefined;
};

describe('a value of the plain dialect', () => {
  it.each([
    [21.5, { value: 21.5 }],
    [true, { value: true }],
    ['on', { value: 'on' }],
    [
      { rpm: 1200, mode: 'auto', on: true },
      { rpm: 1200, mode: 'auto', on: true },
    ],
    [{ at: { lat: 1 }, rpm: 2 }, { value: { at: { lat: 1 }, rpm: 2 } }],
    [{ list: [1] }, { value: { list: [1] } }],
    [{ value: 5 }, { value: { value: 5 } }],
    [{}, { value: {} }],
  ])('%j is stored as %j, and comes back as it was sent', (value, metrics) => {
    expect(metricsOf(value)).toEqual(metrics);
    expect(plainValueOf(metrics)).toEqual(value);
  });

  it.each([[null], [[1, 2]], [undefined]])('%j is refused', (value) => {
    expect(metricsOf(value)).toBeUndefined();
    expect(
      parsePlainData({ value: { device_id: 'd', value }, mayHoldUnstorableText: false }, now, false),
    ).toMatchObject({ ok: true, value: { observations: [undefined] } });
  });

  it('of a reading with a seq is the metric "value", as in the full dialect', () => {
    const text = JSON.stringify({ type: 'telemetry', seq: 1, ts: now, value: { rpm: 1 } });
    expect(parsePlainFrame(text, now, false)).toMatchObject({
      value: { telemetry: { seq: 1, observations: [{ metrics: { value: { rpm: 1 } } }] } },
    });
  });
});

describe('a frame of the plain dialect', () => {
  it('of an unknown type, or of none, is kept for the echo', () => {
    expect(parsePlainFrame('{"type":"hi","a":1}', now, false)).toEqual({
      ok: true,
      value: { type: 'unknown', frame: { type: 'hi', a: 1 } },
    });
    expect(parsePlainFrame('{"a":1}', now, false)).toMatchObject({ value: { type: 'unknown' } });
  });

  it('of an unknown type with a seq is rejected under its numbers', () => {
    expect(parsePlainFrame('{"type":"hi","seq":7,"value":1}', now, false)).toMatchObject({
      ok: false,
      seq: 7,
      count: 1,
    });
  });

  it('needs a device id where the sender is not a device', () => {
    const text = '{"type":"telemetry","value":1}';
    expect(parsePlainFrame(text, now, false)).toMatchObject({
      ok: false,
      isUnreadable: false,
      issue: { code: 'missing-field', message: 'device_id is missing' },
    });
    expect(parsePlainFrame(text, now, true).ok).toBe(true);
  });

  it('that is not a JSON object is unreadable', () => {
    for (const text of ['', '[1]', '"x"', 'null'])
      expect(parsePlainFrame(text, now, true)).toMatchObject({ ok: false });
  });
});

it('an update has the members in the order of the contract, and the time with an offset', () => {
  expect(plainTime(now)).toBe('2026-11-21T16:00:00.123+00:00');
  expect(JSON.stringify(plainUpdate({ deviceId: 'd', receivedAt: now, metrics: { value: 1 } }, 'rest'))).toBe(
    '{"type":"data_update","device_id":"d","value":1,"timestamp_utc":"2026-11-21T16:00:00.123+00:00","source":"rest"}',
  );
});
