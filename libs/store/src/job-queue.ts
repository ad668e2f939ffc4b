import { type Db, PgBoss } from 'pg-boss';
import type pg from 'pg';

/** pg-boss' own schema: no migration of ours touches it. */
const schema = 'fleetwire_jobs';
const queueName = 'exports';

/** Jobs of which nothing is heard for this long are given to another attempt: their process has died. */
const heartbeatSeconds = 15;
const supervisedEverySeconds = 5;
/** pg-boss passes over a queue that was supervised within this time. The same as above, it would pass over it every other time. */
const supervisedWithinSeconds = supervisedEverySeconds - 1;
const attemptsMax = 5;
/** Runs end soon when their signal aborts; what does not is given back. */
const stopMsMax = 5_000;

/** Of a job that is delivered. */
export interface DeliveredJob {
  readonly id: string;
  readonly isLastAttempt: boolean;
  /** Aborts when the queue does not wait for it any longer. */
  readonly signal: AbortSignal;
}

export interface JobQueue {
  /** Queues a job in the transaction of this client. */
  send(client: pg.PoolClient, id: string): Promise<void>;
  /** Whether it is still to be run, or runs. */
  isPending(id: string): Promise<boolean>;
  cancel(id: string): Promise<void>;
  /** Runs jobs from here on. A run that throws is repeated, from its beginning. */
  work(concurrency: number, run: (job: DeliveredJob) => Promise<void>): Promise<void>;
  /** Looks for a job now, not at the next poll. */
  wake(): void;
  /** Gives back jobs that are still running. */
  stop(): Promise<void>;
}

interface QueueOptions {
  readonly databaseUrl: string;
  readonly connectionsMax: number;
  readonly jobMsMax: number;
  readonly onError: (error: unknown) => void;
}

/** Creates the schema, or brings it up to date. To be called by a role that owns the database, as migrations are. */
export async function migrateJobQueue(databaseUrl: string): Promise<void> {
  const boss = new PgBoss({
    connectionString: databaseUrl,
    schema,
    max: 1,
    application_name: 'fleetwire-migrate',
    supervise: false,
    schedule: false,
  });
  boss.on('error', () => {});
  await boss.start();
  try {
    await boss.createQueue(queueName, {
      retryLimit: attemptsMax - 1,
      retryDelay: 2,
      retryBackoff: true,
      retryDelayMax: 60,
    });
  } finally {
    await boss.stop({ graceful: false });
  }
}

/** Opens the queue for a role that may change rows, but no tables. @throws where the database is away, or its schema is not the present one */
export async function openJobQueue({
  databaseUrl,
  connectionsMax,
  jobMsMax,
  onError,
}: QueueOptions): Promise<JobQueue> {
  const boss = new PgBoss({
    connectionString: databaseUrl,
    schema,
    max: connectionsMax,
    application_name: 'query-api jobs',
    migrate: false,
    schedule: false,
    reindex: false,
    monitorVacuum: false,
    superviseIntervalSeconds: supervisedEverySeconds,
    monitorIntervalSeconds: supervisedWithinSeconds,
  });
  boss.on('error', onError);
  try {
    await boss.start();
  } catch (error) {
    await boss.stop({ graceful: false });
    throw error;
  }
  // Longer than the job may take by its own limit.
  const expireInSeconds = Math.ceil(jobMsMax / 1_000) + 60;
  const workers: string[] = [];
  return {
    send: async (client, id) => {
      const db: Db = { executeSql: (text, values) => client.query(text, values) };
      await boss.send(queueName, { id }, { id, expireInSeconds, heartbeatSeconds, db });
    },
    isPending: async (id) => {
      const [job] = await boss.findJobs(queueName, { id });
      return job !== undefined && ['created', 'retry', 'active'].includes(job.state);
    },
    cancel: async (id) => void (await boss.cancel(queueName, id)),
    work: async (concurrency, run) => {
      const worker = await boss.work(
        queueName,
        { includeMetadata: true, localConcurrency: concurrency },
        async ([job]) => {
          if (job === undefined) return;
          const { id, retryCount, retryLimit, signal } = job;
          await run({ id, isLastAttempt: retryCount >= retryLimit, signal });
        },
      );
      workers.push(worker);
    },
    wake: () => workers.forEach((worker) => boss.notifyWorker(worker)),
    stop: () => boss.stop({ timeout: stopMsMax }),
  };
}
