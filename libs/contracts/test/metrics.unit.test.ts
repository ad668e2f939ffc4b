import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMetrics } from '../src/metrics.ts';

describe('metrics', () => {
  it('either taken unchanged, or refused with an issue that has a code and a sentence', () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.dictionary(fc.string(), fc.jsonValue())), (value) => {
        const parsed = parseMetrics(value);
        if (parsed.ok) expect(parsed.value).toBe(value);
        else expect(parsed.issue.message.length).toBeGreaterThan(10);
      }),
      { numRuns: 2_000 },
    );
  });

  it('finds its own words for every way a metric can be wrong', () => {
    const wrong = fc.oneof(
      fc.record({ a: fc.constantFrom(null, [], [1], Number.NaN, Number.POSITIVE_INFINITY, 'x'.repeat(1_025)) }),
      fc.constantFrom({}, { '': 1 }, { 'a\nb': 1 }, { ['n'.repeat(129)]: 1 }, null, 7, 'text', []),
    );
    fc.assert(
      fc.property(wrong, (value) => {
        const parsed = parseMetrics(value);
        expect(parsed.ok).toBe(false);
        // The last resort of the explanation: reaching it means that a rule has no words.
        if (!parsed.ok) expect(parsed.issue.message).not.toContain('must hold numbers');
      }),
    );
  });
});
