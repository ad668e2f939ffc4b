import { expect, it } from 'vitest';
import { TwoGenerationCache } from '../src/two-generation-cache.ts';

it('keeps entries in use and stays within its bound', () => {
  const cache = new TwoGenerationCache<number>(10);
  cache.set('used', 1);
  for (let other = 0; other < 1_000; other++) {
    cache.set(`other-${other}`, other);
    expect(cache.get('used')).toBe(1);
    expect(cache.size).toBeLessThanOrEqual(10);
  }
  expect(cache.get('other-0')).toBeUndefined();
  expect(cache.get('other-999')).toBe(999);
});
