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

  it('throws the last failure when time is up', async () => {
    const never = () => expect('here').toBe('there');
    await expect(eventually(never, { timeoutMs: 30, intervalMs: 5 })).rejects.toThrow("expected 'here' to be 'there'");
  });
});
