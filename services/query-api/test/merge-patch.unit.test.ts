import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyMergePatch, mergePatchBetween } from '../src/dead-letters/merge-patch.ts';

/** JSON without null, which no merge patch can put anywhere. */
const value = fc.letrec((tie) => ({
  any: fc.oneof({ maxDepth: 3 }, fc.integer(), fc.string(), fc.boolean(), fc.array(fc.integer()), tie('object')),
  object: fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('__proto__', 'toString', 'a', 'b')), tie('any')),
}));

describe('a merge patch', () => {
  // RFC 7396, appendix A
  it.each([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('makes of %j by %j what RFC 7396 says', (target, patch, result) => {
    expect(applyMergePatch(target, patch)).toEqual(result);
  });

  it('between two objects leads from one to the other', () => {
    fc.assert(
      fc.property(value.object, value.object, (before, after) => {
        const [one, other] = [before, after] as [Record<string, unknown>, Record<string, unknown>];
        expect(applyMergePatch(one, mergePatchBetween(one, other))).toEqual(other);
      }),
    );
  });
});
