import { describe, expect, it } from 'vitest';
import { eventually } from '../src/testing/eventually.ts';

describe('eventually', () => {
  it('resolves with the result of the first attempt that does not throw', async () => {
    let attempts = 0;
    const result = await eventually(
      () => {
        attempts += 1;
        expect(attempts).toBe(3);
        return 'there';
      },
      { intervalMs: 1 },
    );
    expect(result).toBe('there');
  });

  it('throws the last error at the deadline', async () => {
    const never = () => expect('here').toBe('there');
    await expect(eventually(never, { timeoutMs: 30, intervalMs: 5 })).rejects.toThrow("expected 'here' to be 'there'");
  });

  it('does not wait for an attempt that hangs beyond the deadline, and throws the error before it', async () => {
    let attempts = 0;
    const hanging = () => {
      attempts += 1;
      if (attempts === 1) throw new Error('refused');
      return new Promise<never>(() => {});
    };
    await expect(eventually(hanging, { timeoutMs: 50, intervalMs: 1 })).rejects.toThrow('refused');
  });

  it('ends with the reason of its signal', async () => {
    const interrupted = new AbortController();
    const waiting = eventually(() => expect('here').toBe('there'), { signal: interrupted.signal });
    interrupted.abort(new Error('interrupted'));
    await expect(waiting).rejects.toThrow('interrupted');
  });
});
