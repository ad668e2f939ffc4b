import type { components } from '@fleetwire/client/openapi';
import { computed, signal } from '@preact/signals';
import { answerOf, api } from './api.ts';
import { followFleet } from './fleet.ts';
import { type Load, type Resource, createResource } from './resource.ts';
import { isOperator } from './session.ts';
import { sleep } from './sleep.ts';

type Schemas = components['schemas'];
export type Queue = Schemas['Queue'];

/** What every page shows of the installation: asked for once in this tab, whatever views are open. */
interface Installation {
  readonly status: Resource<Schemas['Status'] & { readonly roundTripMs: number }>;
  readonly position: Resource<Schemas['LivePosition']>;
  /** Undefined where the session may not read them. */
  readonly queues: Resource<Schemas['Queues']> | undefined;
  readonly ledger: Resource<Schemas['ReconciliationReport']> | undefined;
  readonly deadLetters: Resource<{ readonly data: readonly Schemas['DeadLetterGroup'][] }> | undefined;
}

export const installation = signal<Installation | undefined>(undefined);

/** From when on a value on the wire counts as old. */
export const staleMs = 10_000;

/** The rest of the page waits for its first view at most so long. */
const firstViewMsMax = 1_000;

/**
 * Begins to ask, as the signed-in caller.
 * @param firstRows what the open view asks for first: it has the server to itself, with the counts of the fleet
 * @returns ends it
 */
export function followInstallation(firstRows?: Promise<unknown>): () => void {
  const operator = isOperator();
  const firstView = Promise.race([(firstRows ?? Promise.resolve()).catch(() => {}), sleep(firstViewMsMax)]);
  const endFleet = followFleet(firstView);
  const ask = <Data>(load: Load<Data>, everyMs: number) =>
    createResource((signal) => firstView.then(() => load(signal)), { everyMs });
  const askAsOperator = <Data>(load: Load<Data>, everyMs: number) => (operator ? ask(load, everyMs) : undefined);
  const made: Installation = {
    status: ask(async (signal) => {
      const began = performance.now();
      const answer = await answerOf(api.GET('/api/v1/status', { signal }));
      return { ...answer, roundTripMs: performance.now() - began };
    }, 5_000),
    position: ask((signal) => answerOf(api.GET('/api/v1/live/position', { signal })), 2_500),
    queues: askAsOperator((signal) => answerOf(api.GET('/api/v1/queues', { signal })), 2_500),
    ledger: askAsOperator(
      (signal) => answerOf(api.GET('/api/v1/ledger', { params: { query: { from: 'now-1h' } }, signal })),
      15_000,
    ),
    deadLetters: askAsOperator(
      (signal) => answerOf(api.GET('/api/v1/dead-letters/groups', { params: { query: { status: 'open' } }, signal })),
      10_000,
    ),
  };
  installation.value = made;
  return () => {
    endFleet();
    for (const resource of Object.values(made) as (Resource<unknown> | undefined)[]) resource?.stop();
    installation.value = undefined;
  };
}

/** The queue from which readings are stored. */
export const workQueue = computed<Queue | undefined>(() =>
  installation.value?.queues?.state.value.data?.data.find(({ name }) => name === 'telemetry.persist'),
);

export const openDeadLetters = computed(() => {
  const groups = installation.value?.deadLetters?.state.value.data?.data;
  if (groups === undefined) return undefined;
  const open = groups.reduce((sum, group) => sum + group.byStatus.open, 0);
  const newestAt = Math.max(0, ...groups.map(({ lastSeenAt }) => Date.parse(lastSeenAt)));
  return { open, groups: groups.length, newestAt: newestAt === 0 ? undefined : newestAt };
});

/** Readings per second in the last whole minute: received, and of these stored. */
export const minuteRates = computed(() => {
  const minutes = installation.value?.ledger?.state.value.data?.data;
  const last = minutes?.filter(({ minute }) => Date.parse(minute) + 60_000 <= Date.now()).at(-1);
  return last === undefined ? undefined : { received: last.received / 60, stored: (last.stored + last.duplicate) / 60 };
});

/** Until when everything that was acknowledged is stored. */
export const completeUntil = computed<number | undefined>(() => {
  const text = installation.value?.position.state.value.data?.completeUntil;
  return text === null || text === undefined ? undefined : Date.parse(text);
});

/** When the queue was last answered for. */
export const queueAsOf = computed(() => installation.value?.queues?.state.value.receivedAt);
