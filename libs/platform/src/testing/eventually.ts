import { vi } from 'vitest';

/** Repeats the assertion until it holds and resolves with what it returned; throws its last error when time is up. */
export function eventually<T>(assertion: () => T | Promise<T>, { timeoutMs = 10_000, intervalMs = 25 } = {}) {
  return vi.waitFor(assertion, { timeout: timeoutMs, interval: intervalMs });
}
