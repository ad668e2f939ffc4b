import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves when the condition holds. Its errors count as "not yet". @throws when time is up, with what `describe` says */
export async function eventually(
  condition: () => Promise<boolean> | boolean,
  {
    timeoutMs,
    intervalMs = 100,
    describe = () => 'it did not happen',
  }: { timeoutMs: number; intervalMs?: number; describe?: () => string },
): Promise<void> {
  for (const deadline = performance.now() + timeoutMs; ; await sleep(intervalMs)) {
    if (await holds(condition)) return;
    if (performance.now() > deadline) throw new Error(`${describe()} within ${timeoutMs} ms`);
  }
}

async function holds(condition: () => Promise<boolean> | boolean): Promise<boolean> {
  try {
    return await condition();
  } catch {
    return false;
  }
}
