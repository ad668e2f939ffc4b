import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeEnvelope, encodeEnvelope, envelopeType, runsOf } from '../src/envelope.ts';
import type { IdentifiedReading } from '../src/reading.ts';

const base = { id: 'e-1', type: envelopeType, schemaVersion: '1.0', occurredAt: 1_795_262_400_000 } as const;

const identified: fc.Arbitrary<IdentifiedReading> = fc.record({
  deviceId: fc.constantFrom('a', 'b'),
  epoch: fc.constantFrom('e1', 'e2'),
  receivedAt: fc.constantFrom(1, 2),
  seq: fc.nat(),
  ts: fc.integer({ min: 946_684_800_000, max: 4_102_444_800_000 }),
  metrics: fc.dictionary(
    fc.stringMatching(/^[a-z]{1,8}$/),
    fc.oneof(
      fc.double({ noDefaultInfinity: true, noNaN: true }).map((n) => n + 0),
      fc.boolean(),
      fc.string(),
    ),
    { minKeys: 1 },
  ),
});

function encode(members: object): Buffer {
  return Buffer.from(JSON.stringify({ ...base, ...members }));
}

describe('an envelope', () => {
  it('carries every reading unchanged', () => {
    fc.assert(
      fc.property(fc.array(identified), (readings) => {
        const decoded = decodeEnvelope(encodeEnvelope({ ...base, runs: runsOf(readings) }));
        expect(decoded).toEqual({
          ok: true,
          value: { id: 'e-1', readings: JSON.parse(JSON.stringify(readings)), invalid: [] },
        });
      }),
    );
  });

  it('of a newer minor version is accepted, unknown fields included', () => {
    const run = {
      deviceId: 'a',
      epoch: 'e',
      receivedAt: 1,
      color: 'red',
      readings: [{ seq: 1, ts: 2, metrics: { t: 1 }, quality: 'good' }],
    };
    expect(decodeEnvelope(encode({ schemaVersion: '1.7', region: 'eu', runs: [run] }))).toMatchObject({
      ok: true,
      value: { readings: [{ seq: 1 }], invalid: [] },
    });
  });

  it('of an unknown major version is refused for that reason', () => {
    expect(decodeEnvelope(encode({ schemaVersion: '2.0', runs: 'who knows' }))).toMatchObject({
      ok: false,
      issue: { code: 'unsupported-version', message: 'schemaVersion is 2.0; this release reads 1.x' },
    });
  });

  it('loses an invalid member only', () => {
    const readings = [{ seq: 1, ts: 1, metrics: { t: 1 } }, { seq: 'two' }, { seq: 3, ts: 3, metrics: { t: 3 } }];
    expect(decodeEnvelope(encode({ runs: [{ deviceId: 'a', epoch: 'e', receivedAt: 1, readings }] }))).toMatchObject({
      ok: true,
      value: {
        readings: [{ seq: 1 }, { seq: 3 }],
        invalid: [{ deviceId: 'a', value: { seq: 'two' }, issue: { code: 'missing-field' } }],
      },
    });
  });

  it.each([
    ['garbage', '\u0000\u0001'],
    ['another document', '{"hello":1}'],
    ['null', 'null'],
  ])('that is %s is refused', (_name, text) => {
    expect(decodeEnvelope(Buffer.from(text)).ok).toBe(false);
  });
});
