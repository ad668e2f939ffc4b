import { setTimeout as sleep } from 'node:timers/promises';

export interface DatabaseState {
  readonly state: 'unknown' | 'up' | 'down';
  readonly latencyMs?: number;
  readonly error?: string;
  /** When the database was last probed, epoch milliseconds. */
  readonly checkedAt?: number;
}

export interface DatabaseProbe {
  state(): DatabaseState;
  stop(): Promise<void>;
}

export interface DatabaseProbeOptions {
  /** Resolves when the database answers. */
  readonly ping: (signal: AbortSignal) => Promise<unknown>;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly onChange: (state: DatabaseState) => void;
}

/**
 * Probes the database in the background, so that readiness and /status only read state. It does not use the circuits: if readiness
 * depended on an open circuit, no request would arrive that could close it.
 */
export async function startDatabaseProbe(options: DatabaseProbeOptions): Promise<DatabaseProbe> {
  const { ping, intervalMs, timeoutMs, onChange } = options;
  const stopping = new AbortController();
  let current: DatabaseState = { state: 'unknown' };

  const probe = async (): Promise<void> => {
    const startedAt = performance.now();
    const before = current.state;
    try {
      await ping(AbortSignal.any([stopping.signal, AbortSignal.timeout(timeoutMs)]));
      current = { state: 'up', latencyMs: Math.round(performance.now() - startedAt), checkedAt: Date.now() };
    } catch (error) {
      current = { state: 'down', error: (error as Error).message, checkedAt: Date.now() };
    }
    if (current.state !== before && !stopping.signal.aborted) onChange(current);
  };
  const probeRepeatedly = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await sleep(intervalMs, undefined, { signal: stopping.signal }).catch(() => {});
      if (!stopping.signal.aborted) await probe();
    }
  };

  await probe();
  const probing = probeRepeatedly();
  return {
    state: () => current,
    stop: async () => {
      stopping.abort();
      await probing;
    },
  };
}
