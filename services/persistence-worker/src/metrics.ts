import { queues } from '@fleetwire/broker/topology';
import { deadLetterReasons } from '@fleetwire/contracts/dead-letter';
import { Counter, Gauge, Histogram, type Registry, fromZero } from '@fleetwire/runtime/metrics';

export type WorkerMetrics = ReturnType<typeof createWorkerMetrics>;

export function createWorkerMetrics(
  registry: Registry,
  { isHolding, oldestArrivalAt }: { isHolding: () => boolean; oldestArrivalAt: () => number | undefined },
) {
  const registers = [registry];
  return {
    oldestAge: new Gauge({
      name: 'fleetwire_queue_oldest_age_seconds',
      help: 'Since the oldest reading that is held here arrived at the edge; what waits in the queue behind it is younger',
      labelNames: ['queue'] as const,
      registers,
      collect() {
        const arrivedAt = oldestArrivalAt();
        const ageMs = arrivedAt === undefined ? 0 : Math.max(0, Date.now() - arrivedAt);
        this.set({ queue: queues.persist }, ageMs / 1_000);
      },
    }),
    holding: new Gauge({
      name: 'fleetwire_worker_holding',
      help: '1 while consumption is held because Postgres cannot write',
      registers,
      collect() {
        this.set(isHolding() ? 1 : 0);
      },
    }),
    readings: fromZero(
      new Counter({
        name: 'fleetwire_worker_readings_total',
        help: 'Readings by what became of them: stored, duplicate, dead-lettered, or sent up the retry ladder',
        labelNames: ['outcome'] as const,
        registers,
      }),
      'outcome',
      ['stored', 'duplicate', 'dead-lettered', 'retried-later'],
    ),
    batchSeconds: new Histogram({
      name: 'fleetwire_worker_batch_seconds',
      help: 'From the start of a transaction to its commit, holding included',
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
      help: 'From the arrival of the oldest reading of a batch at the edge to its commit',
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
