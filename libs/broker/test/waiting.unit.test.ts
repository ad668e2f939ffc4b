import { describe, expect, it } from 'vitest';
import { settledWithin } from '../src/waiting.ts';

describe('settledWithin', () => {
  it('distinguishes work that settled, even with an error, from work that did not', async () => {
    expect(await settledWithin(Promise.reject(new Error('over')), 1_000)).toBe(true);
    expect(await settledWithin(new Promise(() => {}), 10)).toBe(false);
  });
});
