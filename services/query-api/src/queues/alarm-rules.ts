import { queues } from '@fleetwire/broker/topology';
import type { Circuit } from '../circuit.ts';
import type { QueueMonitor, QueueReport } from './queue-monitor.ts';
import { messagesIn } from './queue-sample.ts';

type QueuesReport = Awaited<ReturnType<QueueMonitor['read']>>;

/** What the rules look at; `queues` is undefined while the broker does not answer. */
export interface AlarmFacts {
  readonly queues: QueuesReport | undefined;
  readonly circuits: readonly Pick<Circuit, 'name' | 'state'>[];
}

/** Something that needs an operator, as an alert of deploy/prometheus of the same name. */
export interface Alarm {
  readonly name: string;
  /** The queue or circuit; empty where it is about all. */
  readonly subject: string;
  readonly summary: string;
  readonly isOfOneInstance: boolean;
}

interface Rule {
  readonly severity: 'warning' | 'critical';
  /** How long the condition holds until the alarm fires. */
  readonly forSeconds: number;
  readonly action: string;
  /** What one query-api sees, others may not. */
  readonly isOfOneInstance?: true;
  readonly find: (facts: AlarmFacts) => Pick<Alarm, 'subject' | 'summary'>[];
}

/** Each has the name, severity, delay and action of its rule in deploy/prometheus/alert.rules.yml; a test compares them. */
export const alarmRules: Readonly<Record<string, Rule>> = {
  FleetwireOldestReadingTooOld: {
    severity: 'warning',
    forSeconds: 60,
    action: 'GET /api/v1/queues shows whether Postgres, the consumers or the broker is the bottleneck.',
    find: olderThan(60, isTelemetry),
  },
  FleetwireOldestReadingFarTooOld: {
    severity: 'critical',
    forSeconds: 60,
    action: 'GET /api/v1/queues shows whether Postgres, the consumers or the broker is the bottleneck.',
    find: olderThan(900, isTelemetry),
  },
  FleetwireNoConsumers: {
    severity: 'critical',
    forSeconds: 60,
    action: 'Start a persistence-worker, or check why it cannot subscribe (/readyz).',
    find: ofQueues(
      ({ name, consumers }) => consumers === 0 && (name === queues.persist || name === queues.dead),
      ({ name }) => `${name} has no consumer`,
    ),
  },
  FleetwireQueueNearItsBound: {
    severity: 'critical',
    forSeconds: 120,
    action:
      'At 100 % the broker rejects new messages: of telemetry.persist devices get nacks and must retry later, results of commands (commands.results) are refused to devices, and presence (presence.facts) stays as it was.',
    find: ofQueues(
      ({ fullness }) => (fullness ?? 0) > 0.8,
      ({ name, fullness }) => `${name} is ${Math.round((fullness ?? 0) * 100)} % full`,
    ),
  },
  FleetwireBrokerAlarm: {
    severity: 'critical',
    forSeconds: 0,
    action: 'GET /api/v1/queues names the node.',
    find: when(
      ({ queues: report }) => (report?.alarms.length ?? 0) > 0,
      'The broker is short of memory or disk space and accepts no readings',
    ),
  },
  FleetwireQueuesUnseen: {
    severity: 'warning',
    forSeconds: 300,
    isOfOneInstance: true,
    action: 'query-api does not run, or it reaches the broker neither over the management API nor over AMQP.',
    find: when(({ queues: report }) => report === undefined, 'The depth of the queues is unknown'),
  },
  FleetwirePresenceUnread: {
    severity: 'warning',
    forSeconds: 60,
    action: 'Start a persistence-worker, or check why it cannot subscribe (/readyz).',
    find: ofQueues(
      ({ name, consumers }) => name === 'presence.facts' && consumers === 0,
      () => 'presence.facts has no consumer: presence of devices stays as it was',
    ),
  },
  FleetwireCommandResultsOld: {
    severity: 'warning',
    forSeconds: 60,
    action:
      'Devices have answered, and their commands will be called timed-out; the answers are then kept as lateResult. Start a persistence-worker, or check why it cannot subscribe (/readyz).',
    find: olderThan(60, ({ name }) => name === 'commands.results'),
  },
  FleetwireCommandResultsBehind: {
    severity: 'warning',
    forSeconds: 120,
    action:
      'Check that Postgres takes writes (fleetwire_worker_holding), and look for a job to many devices with GET /api/v1/commands/{id}; cancel it, or send the next one with a lower ratePerSecond.',
    find: ofQueues(
      (queue) => queue.name === 'commands.results' && messagesIn(queue) > 1_000,
      (queue) => `${messagesIn(queue)} outcomes of commands wait to be written`,
    ),
  },
  FleetwireWorkerHolds: {
    severity: 'critical',
    forSeconds: 60,
    isOfOneInstance: true,
    action:
      'No reading is lost: telemetry.persist keeps them up to its bound. Restore Postgres before the queue is full.',
    find: when(
      ({ queues: report }) => report?.workers.some(({ holding }) => holding) === true,
      'Postgres does not accept writes; workers hold their messages',
    ),
  },
  FleetwireCircuitOpen: {
    severity: 'warning',
    forSeconds: 60,
    isOfOneInstance: true,
    action: 'The server behind it does not answer; GET /api/v1/status has details.',
    find: ({ circuits }) =>
      circuits
        .filter((circuit) => circuit.state() === 'open')
        .map(({ name }) => ({ subject: name, summary: `The circuit ${name} of query-api is open` })),
  },
};

export function alarmsIn(facts: AlarmFacts): Alarm[] {
  return Object.entries(alarmRules).flatMap(([name, { isOfOneInstance = false, find }]) =>
    find(facts).map((one) => ({ name, isOfOneInstance, ...one })),
  );
}

function when(isTrue: (facts: AlarmFacts) => boolean, summary: string): Rule['find'] {
  return (facts) => (isTrue(facts) ? [{ subject: '', summary }] : []);
}

function ofQueues(isTrue: (queue: QueueReport) => boolean, summaryOf: (queue: QueueReport) => string): Rule['find'] {
  return ({ queues: report }) =>
    (report?.queues ?? []).filter(isTrue).map((queue) => ({ subject: queue.name, summary: summaryOf(queue) }));
}

function olderThan(seconds: number, isMeant: (queue: QueueReport) => boolean): Rule['find'] {
  return ofQueues(
    (queue) => isMeant(queue) && (queue.oldest.seconds ?? 0) > seconds,
    ({ name, oldest }) => `The oldest reading in ${name} has waited for ${Math.round(oldest.seconds ?? 0)} s`,
  );
}

function isTelemetry({ name }: QueueReport): boolean {
  return name.startsWith('telemetry.');
}
