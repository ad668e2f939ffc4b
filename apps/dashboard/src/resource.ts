import { type ReadonlySignal, type Signal, signal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { failureOf } from './api.ts';
import { type ResourceEvent, type ResourceState, nextCallMs, nextState, nothing } from './resource-state.ts';

export interface Resource<Data> {
  readonly state: ReadonlySignal<ResourceState<Data>>;
  /** Asks now. */
  refresh(): void;
  /** Ends the call under way; the last good data stays. */
  cancel(): void;
  /** Replaces the question. @param keep the data of the old one stays until the answer to the new one is there */
  ask(load: Load<Data>, keep?: boolean): void;
  stop(): void;
}

export type Load<Data> = (signal: AbortSignal) => Promise<Data>;

/**
 * An answer of the API that is asked for once, or every `everyMs` while the page is visible. Failed calls are repeated with growing
 * delays, and the last good data stays.
 */
export function createResource<Data>(
  first: Load<Data>,
  { everyMs }: { readonly everyMs?: number | undefined } = {},
): Resource<Data> {
  const state: Signal<ResourceState<Data>> = signal<ResourceState<Data>>(nothing);
  let load = first;
  let call: AbortController | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  const apply = (event: ResourceEvent<Data>) => void (state.value = nextState(state.peek(), event));

  async function ask(): Promise<void> {
    clearTimeout(timer);
    if (stopped) return;
    call?.abort();
    const own = new AbortController();
    call = own;
    apply({ type: 'began', at: Date.now() });
    try {
      const data = await load(own.signal);
      if (own.signal.aborted) return;
      apply({ type: 'answered', at: Date.now(), data });
    } catch (error) {
      if (own.signal.aborted) return;
      apply({ type: 'failed', at: Date.now(), failure: failureOf(error) });
    }
    plan();
  }

  function plan(): void {
    const wait = nextCallMs(state.peek(), everyMs);
    if (wait === undefined || stopped) return;
    timer = setTimeout(() => {
      // A hidden page asks once when it is visible again.
      if (!document.hidden) void ask();
    }, wait);
  }

  function whenVisible(): void {
    const { receivedAt, loadingSince, failure } = state.peek();
    if (document.hidden || loadingSince !== undefined) return;
    if (failure !== undefined || (everyMs !== undefined && Date.now() - (receivedAt ?? 0) >= everyMs)) void ask();
  }

  document.addEventListener('visibilitychange', whenVisible);
  void ask();
  return {
    state,
    refresh: () => void ask(),
    cancel: () => {
      call?.abort();
      apply({ type: 'cancelled' });
    },
    ask: (next, keep = true) => {
      load = next;
      if (!keep) state.value = nothing;
      void ask();
    },
    stop: () => {
      stopped = true;
      clearTimeout(timer);
      call?.abort();
      document.removeEventListener('visibilitychange', whenVisible);
    },
  };
}

/**
 * A resource of a component. It asks again when `question` changes, and forgets its data when `about` does.
 * @param question what identifies the question, e.g. its parameters as a text
 */
export function useResource<Data>(
  load: Load<Data>,
  {
    question = '',
    about = '',
    everyMs,
  }: { readonly question?: string; readonly about?: string; readonly everyMs?: number | undefined } = {},
): Resource<Data> {
  const held = useMemo(() => ({ resource: createResource(load, { everyMs }), question }), [about, everyMs]);
  useEffect(() => {
    if (held.question === question) return;
    held.question = question;
    held.resource.ask(load);
  }, [held, question]);
  useEffect(() => () => held.resource.stop(), [held]);
  return held.resource;
}
