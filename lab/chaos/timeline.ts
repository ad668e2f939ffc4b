import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../fleet/random.ts';
import type { Fault } from './fault.ts';
import type { ChaosPlatform } from './platform.ts';
import type { ScheduledFault } from './schedule.ts';

/** One injection. Times are in milliseconds after the start. */
export interface TimelineEntry {
  readonly fault: string;
  readonly injectedAtMs: number;
  /** When healing began. */
  readonly endedAtMs: number;
  readonly healedAtMs: number;
  /** Why it could not be injected, or did not heal. */
  readonly problem?: string;
}

interface InjectionOptions {
  readonly platform: ChaosPlatform;
  readonly random: Random;
  readonly startedAt: number;
  /** After this time a fault is injected only if it was not before: on a busy machine, faults take longer than planned. */
  readonly durationMs: number;
  /** Ends the faults early; the current one is healed. */
  readonly signal: AbortSignal;
  readonly onEntry: (entry: TimelineEntry) => void;
}

/** Injects and heals the faults of one component, one after the other. */
export async function injectFaults(
  scheduled: readonly ScheduledFault<Fault>[],
  options: InjectionOptions,
): Promise<void> {
  const { platform, random, startedAt, durationMs, signal, onEntry } = options;
  const injected = new Set<string>();
  const nowMs = () => Math.round(performance.now() - startedAt);
  const wait = (ms: number) => sleep(Math.max(0, ms), undefined, { signal }).catch(() => {});
  for (const { fault, atMs, holdMs } of scheduled) {
    await wait(atMs - nowMs());
    if (signal.aborted) return;
    const injectedAtMs = nowMs();
    if (injectedAtMs > durationMs && injected.has(fault.name)) continue;
    injected.add(fault.name);
    let problem: string | undefined;
    let endedAtMs = injectedAtMs;
    try {
      const heal = await fault.inject(platform, random);
      await wait(holdMs);
      endedAtMs = nowMs();
      await heal();
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    onEntry({
      fault: fault.name,
      injectedAtMs,
      endedAtMs,
      healedAtMs: nowMs(),
      ...(problem === undefined ? {} : { problem }),
    });
  }
}
