import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMetrics } from '../src/metrics.ts';

describe('metrics', () => {
  it('are accepted unchanged, or refused with an issue that has a code and a sentence', () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.dictionary(fc.string(), fc.jsonValue())), (value) => {
        const parsed = parseMetrics(value);
        if (parsed.ok) expect(parsed.value).toBe(value);
        else expect(parsed.issue.message.length).toBeGreaterThan(10);
      }),
      { numRuns: 2_000 },
    );
  });

  it('have a message of their own for every rule that they can break', () => {
    const wrong = fc.oneof(
      fc.record({ a: fc.constantFrom(null, [], [1], Number.NaN, Number.POSITIVE_INFINITY, 'x'.repeat(1_025)) }),
      fc.constantFrom({}, { '': 1 }, { 'a\nb': 1 }, { ['n'.repeat(129)]: 1 }, null, 7, 'text', []),
    );
    fc.assert(
      fc.property(wrong, (value) => {
        const parsed = parseMetrics(value);
        expect(parsed.ok).toBe(false);
        // The fallback of the explanation: a rule without a message of its own ends there.
        if (!parsed.ok) expect(parsed.issue.message).not.toContain('must hold numbers');
      }),
    );
  });
});
