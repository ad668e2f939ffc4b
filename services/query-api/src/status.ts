import { unavailable } from '@fleetwire/runtime/problem';
import { storeStatus, type StoreStatus } from '@fleetwire/store/readers';
import type { BrokerView, QueueDepth } from './broker-view.ts';
import type { Circuit, CircuitState, GuardedDatabase } from './circuit.ts';
import type { DatabaseProbe, DatabaseState } from './database-probe.ts';
import { createLastGood, type Answer } from './last-good.ts';

export interface BrokerState {
  readonly state: 'up' | 'down' | 'not-configured';
  readonly error?: string;
  readonly queues: readonly QueueDepth[];
}

export interface Status {
  readonly database: DatabaseState;
  readonly broker: BrokerState;
  readonly circuits: readonly { readonly name: string; readonly state: CircuitState }[];
  /** undefined when the database has not answered since we started. */
  readonly store: Answer<StoreStatus> | undefined;
}

export interface StatusSource {
  /** Reports every dependency; a dependency that is away is part of the report, never an error. */
  read(): Promise<Status>;
}

export interface StatusSourceOptions {
  readonly registry: GuardedDatabase;
  readonly probe: DatabaseProbe;
  readonly circuits: readonly Circuit[];
  readonly broker: BrokerView | undefined;
}

export function createStatusSource({ registry, probe, circuits, broker }: StatusSourceOptions): StatusSource {
  const lastStore = createLastGood<StoreStatus>(1);
  const readStore = async (): Promise<StoreStatus> => {
    // Known to be away: a report should not take as long as a timeout.
    if (probe.state().state === 'down') throw unavailable('The database is away', 1_000);
    return registry.run(storeStatus, {});
  };
  return {
    read: async () => {
      const [store, brokerState] = await Promise.all([
        lastStore.read('store', readStore).catch(() => undefined),
        brokerStateOf(broker),
      ]);
      return {
        database: probe.state(),
        broker: brokerState,
        circuits: circuits.map((circuit) => ({ name: circuit.name, state: circuit.state() })),
        store,
      };
    },
  };
}

async function brokerStateOf(broker: BrokerView | undefined): Promise<BrokerState> {
  if (!broker) return { state: 'not-configured', queues: [] };
  try {
    return { state: 'up', queues: await broker.queues() };
  } catch (error) {
    return { state: 'down', error: (error as Error).message, queues: [] };
  }
}
