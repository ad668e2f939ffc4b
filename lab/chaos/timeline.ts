import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../fleet/random.ts';
import type { Fault } from './fault.ts';
import type { ChaosPlatform } from './platform.ts';
import type { ScheduledFault } from './schedule.ts';

/** One injection. Times are in milliseconds after the start. */
export interface TimelineEntry {
  readonly fault: string;
  readonly injectedAtMs: number;
  readonly healedAtMs: number;
  /** Why it could not be injected, or did not heal. */
  readonly problem?: string;
}

interface InjectionOptions {
  readonly platform: ChaosPlatform;
  readonly random: Random;
  readonly startedAt: number;
  /** Ends the faults early; the current one is healed. */
  readonly signal: AbortSignal;
  readonly onEntry: (entry: TimelineEntry) => void;
}

/** Injects and heals the faults of one component, one after the other. */
export async function injectFaults(
  scheduled: readonly ScheduledFault<Fault>[],
  options: InjectionOptions,
): Promise<void> {
  const { platform, random, startedAt, signal, onEntry } = options;
  const nowMs = () => Math.round(performance.now() - startedAt);
  const wait = (ms: number) => sleep(Math.max(0, ms), undefined, { signal }).catch(() => {});
  for (const { fault, atMs, holdMs } of scheduled) {
    await wait(atMs - nowMs());
    if (signal.aborted) return;
    const injectedAtMs = nowMs();
    let problem: string | undefined;
    try {
      const heal = await fault.inject(platform, random);
      await wait(holdMs);
      await heal();
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    onEntry({ fault: fault.name, injectedAtMs, healedAtMs: nowMs(), ...(problem === undefined ? {} : { problem }) });
  }
}
