import { unavailable } from '@fleetwire/runtime/problem';
import { describe, expect, it } from 'vitest';
import { createLastGood } from '../src/last-good.ts';

const away = () => Promise.reject(unavailable('away', 1000));

describe('the last good answer', () => {
  it('is returned while the dependency is unavailable, marked as stale and with its time', async () => {
    const answers = createLastGood<string>({ entriesMax: 2, bytesMax: 10, bytesOf: (text) => text.length });
    const fresh = await answers.read('a', async () => 'first');
    expect(fresh).toMatchObject({ value: 'first', stale: false });
    expect(await answers.read('a', away)).toEqual({ value: 'first', asOf: fresh.asOf, stale: true });
  });

  it('is returned for the same key only, and never in place of an error that is not 503', async () => {
    const answers = createLastGood<string>({ entriesMax: 2, bytesMax: 10, bytesOf: (text) => text.length });
    await answers.read('a', async () => 'first');
    await expect(answers.read('b', away)).rejects.toMatchObject({ status: 503 });
    await expect(answers.read('a', () => Promise.reject(new Error('a bug')))).rejects.toThrow('a bug');
  });

  it('is kept for the keys used last, up to the limit', async () => {
    const answers = createLastGood<string>({ entriesMax: 2, bytesMax: 10, bytesOf: (text) => text.length });
    for (const key of ['a', 'b', 'a', 'c']) await answers.read(key, async () => key);
    await expect(answers.read('b', away)).rejects.toThrow();
    expect((await answers.read('a', away)).value).toBe('a');
  });

  it('is forgotten when newer answers take all the bytes, and not kept when it alone is too large', async () => {
    const answers = createLastGood<string>({ entriesMax: 5, bytesMax: 10, bytesOf: (text) => text.length });
    await answers.read('a', async () => '123456');
    await answers.read('b', async () => '123456');
    await answers.read('c', async () => '12345678901');
    await expect(answers.read('a', away)).rejects.toMatchObject({ status: 503 });
    await expect(answers.read('c', away)).rejects.toMatchObject({ status: 503 });
    expect(await answers.read('b', away)).toMatchObject({ stale: true });
  });
});
