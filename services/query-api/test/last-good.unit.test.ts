import { unavailable } from '@fleetwire/runtime/problem';
import { describe, expect, it } from 'vitest';
import { createLastGood } from '../src/last-good.ts';

const away = () => Promise.reject(unavailable('away', 1000));

describe('the last good answer', () => {
  it('stands in, marked as stale and with its time, while the dependency is away', async () => {
    const answers = createLastGood<string>(2);
    const fresh = await answers.read('a', async () => 'first');
    expect(fresh).toMatchObject({ value: 'first', stale: false });
    expect(await answers.read('a', away)).toEqual({ value: 'first', asOf: fresh.asOf, stale: true });
  });

  it('is that of the same question only, and never hides a fault of another kind', async () => {
    const answers = createLastGood<string>(2);
    await answers.read('a', async () => 'first');
    await expect(answers.read('b', away)).rejects.toMatchObject({ status: 503 });
    await expect(answers.read('a', () => Promise.reject(new Error('a bug')))).rejects.toThrow('a bug');
  });

  it('is kept for so many questions, the freshest', async () => {
    const answers = createLastGood<string>(2);
    for (const key of ['a', 'b', 'a', 'c']) await answers.read(key, async () => key);
    await expect(answers.read('b', away)).rejects.toThrow();
    expect((await answers.read('a', away)).value).toBe('a');
  });
});
