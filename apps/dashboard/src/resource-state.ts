import type { Failure } from './api.ts';

/** What an area of a page knows of its answer. The last good data stays through all that happens later. */
export interface ResourceState<Data> {
  readonly data: Data | undefined;
  /** When the data arrived, in milliseconds. */
  readonly receivedAt: number | undefined;
  /** Since when a call is under way. */
  readonly loadingSince: number | undefined;
  /** Of the newest call, if it failed. */
  readonly failure: Failure | undefined;
  readonly failures: number;
}

export type ResourceEvent<Data> =
  | { readonly type: 'began'; readonly at: number }
  | { readonly type: 'answered'; readonly at: number; readonly data: Data }
  | { readonly type: 'failed'; readonly at: number; readonly failure: Failure }
  | { readonly type: 'cancelled' };

export const nothing: ResourceState<never> = {
  data: undefined,
  receivedAt: undefined,
  loadingSince: undefined,
  failure: undefined,
  failures: 0,
};

export function nextState<Data>(state: ResourceState<Data>, event: ResourceEvent<Data>): ResourceState<Data> {
  switch (event.type) {
    case 'began':
      return { ...state, loadingSince: event.at };
    case 'answered':
      return { data: event.data, receivedAt: event.at, loadingSince: undefined, failure: undefined, failures: 0 };
    case 'failed':
      return { ...state, loadingSince: undefined, failure: event.failure, failures: state.failures + 1 };
    case 'cancelled':
      return { ...state, loadingSince: undefined };
  }
}

/** How an area looks: design, section 7. */
export type Phase = 'empty' | 'loading' | 'ready' | 'refreshing' | 'stale' | 'error';

const noticeableMs = 300;

/** @param staleMs from which age on data that is asked for again and again counts as old */
export function phaseOf(state: ResourceState<unknown>, now: number, staleMs = Infinity): Phase {
  const waits = state.loadingSince !== undefined && now - state.loadingSince >= noticeableMs;
  if (state.data === undefined) {
    if (state.failure !== undefined) return 'error';
    return waits ? 'loading' : 'empty';
  }
  if (state.failure !== undefined || now - (state.receivedAt ?? now) >= staleMs) return 'stale';
  return waits ? 'refreshing' : 'ready';
}

/** How long to wait before asking again: the interval, or longer after each failure in a row. */
export function nextCallMs(state: ResourceState<unknown>, everyMs: number | undefined): number | undefined {
  if (state.failure === undefined) return everyMs;
  const status = state.failure.status;
  // A question that the server will refuse again is not asked again by itself.
  if (status !== undefined && status < 500 && status !== 429 && status !== 408) return undefined;
  const backoff = Math.min(30_000, 1_000 * 2 ** Math.min(state.failures, 5));
  return Math.max(state.failure.retryAfterMs ?? 0, everyMs ?? 0, backoff);
}
