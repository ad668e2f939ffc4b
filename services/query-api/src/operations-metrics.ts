import { minuteOf } from '@fleetwire/contracts/edge-report';
import { Gauge, type Registry } from '@fleetwire/runtime/metrics';
import { currentPositions } from '@fleetwire/store/positions/live-history';
import { readReconciliationEntries } from '@fleetwire/store/reconciliation';
import { type ReconciliationReport, reconcile } from './reconciliation/reconcile.ts';
import type { GuardedDatabase } from './circuit.ts';
import type { QueueMonitor, QueueReport } from './queues/queue-monitor.ts';
import { messagesIn } from './queues/queue-sample.ts';

export interface OperationsMetricsOptions {
  readonly registry: Registry;
  readonly queues: QueueMonitor;
  readonly scans: GuardedDatabase;
  readonly live: GuardedDatabase;
  readonly openingMsMax: number;
}

const auditedMinutes = 60;
const auditSharedMs = 15_000;

/** Metrics of the queues and of the reconciliation, read at each scrape; what is unknown then has no value. */
export function exposeOperations({ registry, queues, scans, live, openingMsMax }: OperationsMetricsOptions): void {
  exposeQueues(registry, queues);
  exposeBooks(registry, sharedAudit(queues, scans));
  exposePositions(registry, live, openingMsMax);
}

function exposeQueues(registry: Registry, queues: QueueMonitor): void {
  const perQueue = (name: string, help: string, valueOf: (queue: QueueReport) => number | null): void => {
    registry.registerMetric(
      new Gauge({
        name,
        help,
        labelNames: ['queue'],
        registers: [],
        async collect() {
          const report = await queues.read().catch(() => undefined);
          this.reset();
          for (const queue of report?.queues ?? []) {
            const value = valueOf(queue);
            if (value !== null) this.set({ queue: queue.name }, value);
          }
        },
      }),
    );
  };
  perQueue('fleetwire_queue_depth', 'Messages in the queue, ready and unacknowledged', messagesIn);
  perQueue(
    'fleetwire_queue_depth_readings',
    'Estimate of the readings in the queue, from its bytes and the size of the messages that workers handled last',
    ({ readings }) => readings,
  );
  perQueue('fleetwire_queue_consumers', 'Consumers of the queue', ({ consumers }) => consumers);
  perQueue(
    'fleetwire_queue_fullness_ratio',
    'Share of the nearest bound of the queue; at 1 the broker refuses messages',
    ({ fullness }) => fullness,
  );
  perQueue(
    'fleetwire_queue_oldest_age_seconds',
    'Age of the oldest message; without a worker, the age of the newest edge report that has left the queue, or the time that the queue has been without consumers',
    ({ oldest }) => oldest.seconds,
  );
  registry.registerMetric(
    new Gauge({
      name: 'fleetwire_broker_alarms',
      help: 'Alarms of the broker; each blocks publishers',
      registers: [],
      async collect() {
        const report = await queues.read().catch(() => undefined);
        if (report === undefined) this.remove();
        else this.set(report.alarms.length);
      },
    }),
  );
}

function exposeBooks(registry: Registry, read: () => Promise<ReconciliationReport | undefined>): void {
  const ofBooks = (name: string, help: string, valueOf: (audited: ReconciliationReport) => number): void => {
    registry.registerMetric(
      new Gauge({
        name,
        help,
        registers: [],
        async collect() {
          const audited = await read();
          if (audited === undefined) this.remove();
          else this.set(valueOf(audited));
        },
      }),
    );
  };
  ofBooks(
    'fleetwire_reconciliation_missing_readings',
    'Readings of the last hour that were received, have settled and are not accounted for, without those that an operator has acknowledged',
    ({ alarming }) => alarming.missing,
  );
  ofBooks(
    'fleetwire_reconciliation_surplus_readings',
    'Readings of the last hour that are stored, have settled and were not received, although no edge report is missing, without those that an operator has acknowledged',
    ({ alarming }) => alarming.surplus,
  );
  ofBooks(
    'fleetwire_books_in_flight_readings',
    'Readings of the last hour that are still in flight',
    ({ total }) => total.inFlight,
  );
  ofBooks(
    'fleetwire_books_edges_unaccounted',
    'Ingest instances of the last hour that stopped without a final report, or of which a report is missing, and that no operator has acknowledged',
    ({ edges }) =>
      edges.filter(
        ({ state, missingReports, isAcknowledged }) =>
          (state === 'silent' || missingReports.length > 0) && !isAcknowledged,
      ).length,
  );
}

function exposePositions(registry: Registry, live: GuardedDatabase, openingMsMax: number): void {
  const age = new Gauge({
    name: 'fleetwire_complete_until_age_seconds',
    help: 'Age of the time until which every acknowledged reading is stored or a dead letter; no value while that is not known',
    registers: [registry],
  });
  registry.registerMetric(
    new Gauge({
      name: 'fleetwire_settled_lag_envelopes',
      help: 'Envelopes that the edges have numbered and whose readings do not all have their final fate, or follow such an envelope',
      registers: [],
      async collect() {
        const positions = await live.run(currentPositions, { openingMsMax }).catch(() => undefined);
        if (positions === undefined) this.remove();
        else this.set(positions.unsettled);
        const until = positions?.completeUntil ?? null;
        if (until === null) age.remove();
        else age.set(Math.max(0, Date.now() - until) / 1_000);
      },
    }),
  );
}

/** Scrapes within a few seconds share one audit; undefined while the database is unavailable. */
function sharedAudit(queues: QueueMonitor, scans: GuardedDatabase): () => Promise<ReconciliationReport | undefined> {
  let shared: { readonly until: number; readonly audited: Promise<ReconciliationReport | undefined> } | undefined;
  const auditNow = async (now: number): Promise<ReconciliationReport> => {
    const settledBefore = await queues.read().then(
      (report) => report.settledBefore,
      () => 0,
    );
    const toMinute = minuteOf(now) + 1;
    const books = await scans.run(readReconciliationEntries, {
      fromMinute: toMinute - auditedMinutes,
      toMinute,
      recountedRowsMax: 0,
    });
    return reconcile(books, { now, settledBefore });
  };
  return () => {
    const now = Date.now();
    if (shared === undefined || shared.until <= now)
      shared = { until: now + auditSharedMs, audited: auditNow(now).catch(() => undefined) };
    return shared.audited;
  };
}
