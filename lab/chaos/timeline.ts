import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../fleet/random.ts';
import type { Fault } from './fault.ts';
import type { Platform } from './platform.ts';
import type { Appointment } from './schedule.ts';

/** Times in milliseconds after the start. */
export interface TimelineEntry {
  readonly fault: string;
  readonly injectedAtMs: number;
  readonly healedAtMs: number;
  /** Why it could not be injected, or was not healed. */
  readonly problem?: string;
}

interface LaneOptions {
  readonly platform: Platform;
  readonly random: Random;
  readonly startedAt: number;
  /** Ends the lane early; what is broken then is healed. */
  readonly signal: AbortSignal;
  readonly onEntry: (entry: TimelineEntry) => void;
}

/** Keeps the appointments of one lane, one after the other. */
export async function runLane(appointments: readonly Appointment<Fault>[], options: LaneOptions): Promise<void> {
  const { platform, random, startedAt, signal, onEntry } = options;
  const nowMs = () => Math.round(performance.now() - startedAt);
  const pause = (ms: number) => sleep(Math.max(0, ms), undefined, { signal }).catch(() => {});
  for (const { fault, atMs, holdMs } of appointments) {
    await pause(atMs - nowMs());
    if (signal.aborted) return;
    const injectedAtMs = nowMs();
    let problem: string | undefined;
    try {
      const heal = await fault.inject(platform, random);
      await pause(holdMs);
      await heal();
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    onEntry({ fault: fault.name, injectedAtMs, healedAtMs: nowMs(), ...(problem === undefined ? {} : { problem }) });
  }
}
