import { parseWorkerState, type WorkerState } from '@fleetwire/contracts/worker-state';

/** The states of the workers that answered. */
export type WorkerView = (signal: AbortSignal) => Promise<readonly WorkerState[]>;

const workerTimeoutMs = 1_000;
const bodyCharactersMax = 4_096;

/** Requests the state of each worker (`GET /state`). A worker that does not answer is left out. */
export function createWorkerView(urls: readonly string[]): WorkerView {
  return async (signal) => {
    const states = await Promise.all(urls.map((url) => stateOf(url, signal).catch(() => undefined)));
    return states.filter((state) => state !== undefined);
  };
}

async function stateOf(url: string, signal: AbortSignal): Promise<WorkerState | undefined> {
  const target = new URL('/state', url);
  const response = await fetch(target, { signal: AbortSignal.any([signal, AbortSignal.timeout(workerTimeoutMs)]) });
  const text = await response.text();
  if (!response.ok || text.length > bodyCharactersMax) return undefined;
  const state = parseWorkerState(JSON.parse(text));
  return state.ok ? state.value : undefined;
}
