import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, Gauge, type Registry } from '@fleetwire/runtime/metrics';
import type { Logger } from '@fleetwire/runtime/logger';
import { Problem } from '@fleetwire/runtime/problem';
import type { Database } from '@fleetwire/store/database';
import {
  abandonExportJob,
  expireExportJobs,
  failExportJob,
  finishExportJob,
  keptRuns,
  reportExportJob,
  requeueExportJob,
  silentExportJobs,
  startExportJob,
  type StoredExportJob,
} from '@fleetwire/store/exports/export-jobs';
import type { DeliveredJob, JobQueue } from '@fleetwire/store/job-queue';
import { formatOf, type FormatName } from '../exports/formats.ts';
import { openReadingsTable, type ReadingsExport } from '../exports/readings-table.ts';
import { writeExport } from '../exports/write-export.ts';
import { fileNameOf, onlyDeviceOf } from './schemas.ts';
import type { ExportTarget } from './target.ts';

const progressEveryMs = 1_000;
const sweepEveryMs = 30_000;
/** Of a job of which nothing was heard for this long, the queue is asked. */
const silentMs = 60_000;
const reopenEveryMs = 2_000;

interface RunnerOptions {
  readonly target: ExportTarget;
  /** Where readings are read; a statement may take as long as a job. */
  readonly readings: Database;
  /** Where jobs are kept. */
  readonly jobs: Database;
  readonly openQueue: () => Promise<JobQueue>;
  readonly runningMax: number;
  readonly jobMsMax: number;
  readonly keptMs: number;
  readonly logger: Logger;
  readonly registry: Registry;
}

/** The job was cancelled, or another attempt has taken its place. */
class EndedElsewhereError extends Error {
  override readonly name = 'EndedElsewhereError';
}

/** Runs export jobs in this process, and removes files that are no longer wanted. */
export class ExportRunner {
  readonly #options: RunnerOptions;
  readonly #ending = new AbortController();
  readonly #running: Gauge;
  readonly #ended: Counter<'outcome'>;
  #queue: JobQueue | undefined;
  #opening: Promise<void> = Promise.resolve();
  #sweeping: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RunnerOptions) {
    const { registry, target } = options;
    this.#options = options;
    this.#running = new Gauge({
      name: 'fleetwire_export_jobs_running',
      help: 'Export jobs that this instance runs; the bound is EXPORT_JOBS_RUNNING_MAX',
      registers: [registry],
    });
    this.#ended = new Counter({
      name: 'fleetwire_export_jobs_total',
      help: 'Attempts of export jobs by outcome: succeeded, failed, cancelled, or retried',
      labelNames: ['outcome'],
      registers: [registry],
    });
    const folderBytes: Gauge = new Gauge({
      name: 'fleetwire_export_folder_bytes',
      help: 'Size of the files of export jobs in the folder of this instance, or in its bucket; the bound is EXPORT_BYTES_MAX',
      registers: [registry],
      collect: () => folderBytes.set(target.count.bytes),
    });
  }

  /** Resolves immediately: the database may be away. */
  start(): void {
    this.#opening = this.#openQueue();
    this.#timer = setInterval(() => void this.sweep(), sweepEveryMs);
    void this.sweep();
  }

  /** Undefined while the database is away, or lacks the tables of the queue. */
  get queue(): JobQueue | undefined {
    return this.#queue;
  }

  /** Jobs that run are given back to the queue. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#ending.abort(
      new Problem(503, 'Service unavailable', { detail: 'The instance that ran the job has stopped' }),
    );
    await this.#opening;
    await this.#sweeping;
    await this.#queue?.stop();
  }

  async #openQueue(): Promise<void> {
    const { openQueue, runningMax, logger } = this.#options;
    for (let failures = 0; !this.#ending.signal.aborted; failures += 1) {
      try {
        const queue = await openQueue();
        await queue.work(runningMax, (job) => this.#run(job));
        this.#queue = queue;
        return;
      } catch (error) {
        if (failures === 0) logger.warn({ err: error }, 'queue of export jobs not available; trying again');
        await sleep(reopenEveryMs, undefined, { signal: this.#ending.signal }).catch(() => {});
      }
    }
  }

  async #run({ id, isLastAttempt, signal: ofQueue }: DeliveredJob): Promise<void> {
    const { jobs, target, jobMsMax, logger } = this.#options;
    const attempt = { id, run: randomUUID() };
    const job = await startExportJob(jobs, { ...attempt, folder: target.id });
    if (job === undefined) return;
    this.#running.inc();
    using cancelled = new DisposableAbort();
    const deadline = AbortSignal.timeout(jobMsMax);
    const signal = AbortSignal.any([ofQueue, this.#ending.signal, cancelled.signal, deadline]);
    try {
      await this.#write(job, attempt, signal, cancelled);
      this.#ended.inc({ outcome: 'succeeded' });
      logger.info({ job: id }, 'export job succeeded');
    } catch (error) {
      if (error instanceof EndedElsewhereError) {
        this.#ended.inc({ outcome: 'cancelled' });
        return;
      }
      const problem = deadline.aborted ? tookTooLong(jobMsMax) : lastingProblem(error, isLastAttempt);
      logger.warn({ err: error, job: id, attempt: job.attempt }, 'export job failed');
      this.#ended.inc({ outcome: problem === undefined ? 'retried' : 'failed' });
      if (problem !== undefined) return void (await failExportJob(jobs, { ...attempt, problem: problem.toJSON() }));
      await requeueExportJob(jobs, { ...attempt, problem: passingProblem(error).toJSON() });
      throw error;
    } finally {
      this.#running.dec();
      void this.sweep();
    }
  }

  async #write(
    job: StoredExportJob,
    attempt: { readonly id: string; readonly run: string },
    signal: AbortSignal,
    cancelled: DisposableAbort,
  ): Promise<void> {
    const { target, readings, jobs, keptMs, logger } = this.#options;
    const format = formatOf(job.format as FormatName, undefined)!;
    const question = job.question as ReadingsExport;
    const table = await openReadingsTable(readings, {
      ...question,
      format,
      order: 'asc',
      onlyDevice: onlyDeviceOf(question),
      signal,
    });
    let written = { rows: 0, bytes: 0 };
    const estimatedRows = table.rowsMax ?? table.estimatedRows;
    const report = async (): Promise<void> => {
      const { isWanted, othersBytes } = await reportExportJob(jobs, { ...attempt, ...written, estimatedRows });
      if (!isWanted) cancelled.abort(new EndedElsewhereError('the job has ended elsewhere'));
      target.count.record(othersBytes + written.bytes);
    };
    let reporting: Promise<void> | undefined;
    const onTick = (): void => {
      reporting ??= report()
        .catch((error: unknown) => logger.warn({ err: error, job: job.id }, 'progress of export job not stored'))
        .finally(() => (reporting = undefined));
    };
    onTick();
    await reporting;
    const timer = setInterval(onTick, progressEveryMs);
    try {
      const { bytes, digest } = await target.write({ ...attempt, format, name: fileNameOf(question), signal }, (out) =>
        writeExport(out, format, table, { onProgress: (now) => (written = now), signal }),
      );
      await reporting;
      const { rows } = written;
      const { completeUntil } = table;
      if (await finishExportJob(jobs, { ...attempt, rows, bytes, digest, completeUntil, keptMs })) return;
      throw new EndedElsewhereError('the job has ended elsewhere');
    } finally {
      clearInterval(timer);
      await reporting;
    }
  }

  /** Marks files past their time, and jobs that the queue has given up; removes files without a job. */
  sweep(): Promise<void> {
    const { logger } = this.#options;
    const warn = (error: unknown): void => {
      if (!this.#ending.signal.aborted) logger.warn({ err: error }, 'files of export jobs not swept');
    };
    this.#sweeping = this.#sweeping
      .then(() => this.#sweepJobs())
      .catch(warn)
      .then(() => this.#sweepFiles())
      .catch(warn);
    return this.#sweeping;
  }

  async #sweepJobs(): Promise<void> {
    if (this.#ending.signal.aborted) return;
    const { jobs } = this.#options;
    await expireExportJobs(jobs, {});
    const queue = this.#queue;
    if (queue === undefined) return;
    for (const id of await silentExportJobs(jobs, { silentMs })) {
      if (await queue.isPending(id)) continue;
      const detail = 'The service ended in the middle of it again and again; make the export again, of less';
      await abandonExportJob(jobs, { id, problem: new Problem(500, 'Internal server error', { detail }).toJSON() });
    }
  }

  async #sweepFiles(): Promise<void> {
    if (this.#ending.signal.aborted) return;
    const { target, jobs } = this.#options;
    // Before the jobs: a file that appears after this is not looked at.
    const files = await target.files(this.#ending.signal);
    const kept = await keptRuns(jobs, { ids: files.map(({ id }) => id) });
    for (const file of files) if (kept.get(file.id) !== file.run) await file.remove();
  }
}

class DisposableAbort extends AbortController {
  [Symbol.dispose](): void {
    this.abort();
  }
}

/** Undefined where another attempt may succeed. */
function lastingProblem(error: unknown, isLastAttempt: boolean): Problem | undefined {
  if (isLastAttempt) return passingProblem(error);
  return error instanceof Problem && error.status !== 503 ? error : undefined;
}

function passingProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(503, 'Service unavailable', { detail: 'The database did not answer to the end' });
}

function tookTooLong(jobMsMax: number): Problem {
  return new Problem(504, 'Gateway timeout', {
    detail: `The export took longer than ${jobMsMax} ms (EXPORT_JOB_MS_MAX); export less: a shorter time range, fewer devices or metrics`,
  });
}
