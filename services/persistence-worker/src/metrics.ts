import { queues } from '@fleetwire/broker/topology';
import { deadLetterReasons } from '@fleetwire/contracts/dead-letter';
import { Counter, Gauge, Histogram, type Registry, fromZero } from '@fleetwire/runtime/metrics';
import type { BatchWriter } from '@fleetwire/store/batch-writer';
import { commandStates } from '@fleetwire/store/commands/command';
import type { DatabaseGate } from './database-gate.ts';
import type { TransactionBatcher } from './transaction-batcher.ts';

export type WorkerMetrics = ReturnType<typeof createWorkerMetrics>;

export function createWorkerMetrics(registry: Registry) {
  const registers = [registry];
  return {
    readings: fromZero(
      new Counter({
        name: 'fleetwire_worker_readings_total',
        help: 'Readings by outcome: stored, duplicate, conflicting (a duplicate that differs from the stored reading), dead-lettered, or copied to a retry queue',
        labelNames: ['outcome'] as const,
        registers,
      }),
      'outcome',
      ['stored', 'duplicate', 'conflicting', 'dead-lettered', 'retried-later'],
    ),
    presenceFacts: fromZero(
      new Counter({
        name: 'fleetwire_presence_facts_total',
        help: 'Messages of edges about sessions of devices: applied, or unreadable',
        labelNames: ['result'] as const,
        registers,
      }),
      'result',
      ['applied', 'unreadable'],
    ),
    presenceChanges: fromZero(
      new Counter({
        name: 'fleetwire_presence_changes_total',
        help: 'Changes of the presence of devices for the exchange events: published, or dropped because too many wait for the broker',
        labelNames: ['result'] as const,
        registers,
      }),
      'result',
      ['published', 'dropped'],
    ),
    edgesLost: new Counter({
      name: 'fleetwire_edge_lease_expired_total',
      help: 'Edges whose sessions were ended because they had lost their lease, or had begun a new generation',
      registers,
    }),
    presenceConvergenceSeconds: new Histogram({
      name: 'fleetwire_presence_convergence_seconds',
      help: 'Time until presence is stored: reported, from the message of an edge about sessions (its clock); edge-lost, from the last sign of life of an edge that lost its lease',
      labelNames: ['cause'] as const,
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 13, 15, 20, 60],
      registers,
    }),
    commands: fromZero(
      new Counter({
        name: 'fleetwire_commands_total',
        help: 'Commands that have entered the state; a command of the mode when-online may enter sent more than once',
        labelNames: ['state'] as const,
        registers,
      }),
      'state',
      commandStates,
    ),
    commandChanges: fromZero(
      new Counter({
        name: 'fleetwire_command_changes_total',
        help: 'Changes of the states of commands for the exchange events: published, or dropped because too many wait for the broker',
        labelNames: ['result'] as const,
        registers,
      }),
      'result',
      ['published', 'dropped'],
    ),
    commandOutcomes: fromZero(
      new Counter({
        name: 'fleetwire_command_outcomes_total',
        help: 'Reports of edges about commands: applied, late (kept beside a command that had ended), ignored (repeated, or of an earlier attempt), unreadable, or refused by Postgres',
        labelNames: ['result'] as const,
        registers,
      }),
      'result',
      ['applied', 'late', 'ignored', 'unreadable', 'refused'],
    ),
    commandSeconds: new Histogram({
      name: 'fleetwire_command_round_trip_seconds',
      help: 'Time from the request to the stored answer of the device, for commands of the mode now to one device',
      buckets: [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300],
      registers,
    }),
    batchSeconds: new Histogram({
      name: 'fleetwire_worker_batch_seconds',
      help: 'Time from the start of a batch to its commit, including the time it was held while Postgres was unavailable',
      buckets: [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
      registers,
    }),
    batchReadings: new Histogram({
      name: 'fleetwire_worker_batch_readings',
      help: 'Readings in a transaction',
      buckets: [1, 10, 50, 100, 250, 500, 1_000, 2_000, 5_000],
      registers,
    }),
    endToEndSeconds: new Histogram({
      name: 'fleetwire_end_to_end_seconds',
      help: 'Time from the arrival of the oldest reading of a batch at the edge to the commit of the batch',
      buckets: [0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3_600],
      registers,
    }),
    deadLetters: fromZero(
      new Counter({
        name: 'fleetwire_worker_dead_letters_total',
        help: 'Dead letters published, by reason',
        labelNames: ['reason'] as const,
        registers,
      }),
      'reason',
      deadLetterReasons,
    ),
  };
}

/** Gauges that are read from the parts of the worker at each scrape. */
export function registerWorkerGauges(
  registry: Registry,
  {
    gate,
    batcher,
    shapes,
    shapesMax,
    partitions,
  }: {
    readonly gate: DatabaseGate;
    readonly batcher: TransactionBatcher;
    readonly shapes: BatchWriter['shapes'];
    readonly shapesMax: number;
    /** How many partitions there are. */
    readonly partitions: () => number;
  },
): void {
  registry.registerMetric(
    new Gauge({
      name: 'fleetwire_worker_shapes',
      help: 'Distinct sets of numeric metric names that have compact rows, over all devices; counted when this worker adds one, and every hour',
      registers: [],
      collect() {
        this.set(shapes.count);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: 'fleetwire_worker_shapes_max',
      help: 'Bound of fleetwire_worker_shapes (SHAPES_MAX)',
      registers: [],
      collect() {
        this.set(shapesMax);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: 'fleetwire_worker_partitions',
      help: 'Partitions of readings when this worker last looked, which it does for a device time without a known one; one for each quarter of the past at most',
      registers: [],
      collect() {
        this.set(partitions());
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: 'fleetwire_queue_oldest_age_seconds',
      help: 'Time since the oldest reading in this worker arrived at the edge; readings still in the queue are younger',
      labelNames: ['queue'] as const,
      registers: [],
      collect() {
        const arrivedAt = batcher.oldestArrivalAt;
        const ageMs = arrivedAt === undefined ? 0 : Math.max(0, Date.now() - arrivedAt);
        this.set({ queue: queues.persist }, ageMs / 1_000);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: 'fleetwire_worker_holding',
      help: '1 while consumption is held because Postgres is unavailable',
      registers: [],
      collect() {
        this.set(gate.isOpen ? 0 : 1);
      },
    }),
  );
}
