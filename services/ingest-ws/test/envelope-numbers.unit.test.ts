import { encodePosition, headersOfHalf, positionHeader, positionOf } from '@fleetwire/contracts/envelope-position';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EnvelopeNumbers } from '../src/envelope-numbers.ts';

describe('the numbers of envelopes', () => {
  it('are reported as ranges when they were not confirmed, in whatever order that is known, each once', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), fc.constantFrom('confirmed', 'unsent', 'unconfirmed'))), (fates) => {
        const numbers = new EnvelopeNumbers();
        const positions = fates.map(() => numbers.next());
        const order = fates.map((_, index) => index).sort((a, b) => fates[a]![0] - fates[b]![0]);
        for (const index of order) {
          const fate = fates[index]![1];
          if (fate !== 'confirmed') numbers.notConfirmed(positions[index]!, fate === 'unconfirmed');
        }
        const reported = numbers.drain(0);
        const listed = (ranges: readonly (readonly [number, number])[]) =>
          ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, index) => first + index));
        const expected = (fate: string) => fates.flatMap(([, one], index) => (one === fate ? [index + 1] : []));
        expect(listed(reported.unsent)).toEqual(expected('unsent'));
        expect(listed(reported.unconfirmed)).toEqual(expected('unconfirmed'));
        for (const ranges of [reported.unsent, reported.unconfirmed])
          for (const [index, range] of ranges.entries())
            if (index > 0) expect(range[0]).toBeGreaterThan(ranges[index - 1]![1] + 1);
        expect(reported.last).toBe(fates.length);
        expect(numbers.drain(0)).toMatchObject({ unsent: [], unconfirmed: [], last: fates.length });
      }),
    );
  });

  it('stand in a header that halves of a split message refine, and that anything else than a position is not read as', () => {
    const position = { instanceId: '1f0c9f6e-6b0c-4b0e-9d5a-1f0c9f6e6b0c', number: 17, part: '' };
    const headers = { [positionHeader]: encodePosition(position), other: 1 };
    expect(positionOf(headers)).toEqual(position);
    const quarter = headersOfHalf(headersOfHalf(headers, 1), 0);
    expect(positionOf(quarter)).toEqual({ ...position, part: '10' });
    expect(quarter['other']).toBe(1);
    for (const value of ['', 'a/0', 'a/1.5', 'a/x', 'a b/1', 'a/1/2', 7, null, undefined])
      expect(positionOf({ [positionHeader]: value })).toBeUndefined();
    expect(headersOfHalf({ other: 1 }, 0)).toEqual({ other: 1 });
  });
});
