import type { TokenMinter } from '@fleetwire/auth/tokens';
import type { LatestState } from '@fleetwire/store/readers';
import type { DeadLetterDesk } from './dead-letters/desk.ts';
import type { ReplayRunner } from './dead-letters/replay-runner.ts';
import type { LastGood } from './last-good.ts';
import type { QueueMonitor } from './queues/queue-monitor.ts';
import type { Reads } from './reads.ts';
import type { StatusSource } from './status.ts';

/** What handlers work with. */
export interface ApiContext {
  readonly reads: Reads;
  readonly lastLatest: LastGood<LatestState[]>;
  readonly status: StatusSource;
  readonly queues: QueueMonitor;
  readonly deadLetters: DeadLetterDesk;
  /** Undefined where no broker is configured. */
  readonly replayRunner: ReplayRunner | undefined;
  readonly minter: TokenMinter | undefined;
  /** Epoch milliseconds. */
  readonly now: () => number;
}
