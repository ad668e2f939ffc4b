import type { TokenMinter } from '@fleetwire/auth/tokens';
import type { LatestRow, StoreStatus } from '@fleetwire/store/readers';
import type { Circuit, GuardedDatabase } from './circuit.ts';
import type { DatabaseProbe } from './database-probe.ts';
import type { DeadLetterStore } from './dead-letters/dead-letter-store.ts';
import type { LastGood } from './last-good.ts';
import type { QueueMonitor } from './queues/queue-monitor.ts';

/** What handlers work with. */
export interface ApiContext {
  /** The database, with one circuit for each kind of query. */
  readonly latest: GuardedDatabase;
  readonly registry: GuardedDatabase;
  readonly history: GuardedDatabase;
  readonly lastLatest: LastGood<LatestRow[]>;
  readonly lastStored: LastGood<StoreStatus>;
  readonly probe: DatabaseProbe;
  readonly circuits: readonly Circuit[];
  readonly queues: QueueMonitor;
  readonly deadLetters: DeadLetterStore;
  readonly minter: TokenMinter | undefined;
  /** Epoch milliseconds. */
  readonly now: () => number;
}
