import type { Logger } from '@fleetwire/runtime/logger';
import type { Counter, Registry } from '@fleetwire/runtime/metrics';
import type { Database } from '@fleetwire/store/database';
import { type Circuit, type GuardedDatabase, guardDatabase } from '../circuit.ts';
import type { QueryApiConfiguration } from '../configuration.ts';
import { openReadPool } from '../pools.ts';
import { ExportBucket } from './bucket.ts';
import { ExportFolder } from './folder.ts';
import { ExportRunner } from './runner.ts';
import type { ExportTarget } from './target.ts';

/** What the routes of export jobs use. */
export interface ExportJobs {
  readonly target: ExportTarget;
  readonly runner: ExportRunner;
  readonly database: GuardedDatabase;
  readonly perCallerMax: number;
  readonly pendingMax: number;
  readonly stalledMsMax: number;
  readonly refused: Counter<'reason'>;
  stop(): Promise<void>;
}

interface Surroundings {
  readonly writing: Database;
  readonly circuit: Circuit;
  readonly refused: Counter<'reason'>;
  readonly registry: Registry;
  readonly logger: Logger;
}

const hourMs = 3_600_000;
/** Polls, heartbeats and supervision of the queue, none of which takes long. */
const queueConnectionsMax = 2;

/**
 * @returns undefined where there is no place for files
 * @throws where the folder cannot be written to; not where the database or the bucket is away
 */
export async function startExportJobs(
  config: QueryApiConfiguration,
  { writing, circuit, refused, registry, logger }: Surroundings,
): Promise<ExportJobs | undefined> {
  const target = await openTarget(config);
  if (target === undefined) return undefined;
  // pg-boss is loaded only where there are jobs: others start without it.
  const { openJobQueue } = await import('@fleetwire/store/job-queue');
  const { exportJobMsMax: jobMsMax, exportJobsRunningMax: runningMax } = config;
  const readings = openReadPool(
    { ...config, statementTimeoutMs: jobMsMax },
    { poolMax: runningMax, purpose: 'export jobs', connectTimeoutMs: config.statementTimeoutMs, logger },
  );
  const runner = new ExportRunner({
    target,
    readings,
    jobs: writing,
    openQueue: () =>
      openJobQueue({
        databaseUrl: config.databaseWriteUrl ?? config.databaseUrl,
        connectionsMax: queueConnectionsMax,
        jobMsMax,
        onError: (error) => logger.warn({ err: error }, 'queue of export jobs failed; it goes on'),
      }),
    runningMax,
    jobMsMax,
    keptMs: config.exportRetentionHours * hourMs,
    logger,
    registry,
  });
  runner.start();
  return {
    target,
    runner,
    database: guardDatabase(writing, circuit),
    perCallerMax: config.exportJobsPerCallerMax,
    pendingMax: config.exportJobsPendingMax,
    stalledMsMax: config.exportStalledMsMax,
    refused,
    stop: async () => {
      await runner.stop();
      await readings.close();
    },
  };
}

/** A bucket goes before a folder. */
async function openTarget(config: QueryApiConfiguration): Promise<ExportTarget | undefined> {
  const { exportsDir, exportBytesMax: bytesMax, exportS3Bucket: bucket } = config;
  if (bucket === undefined) return exportsDir === undefined ? undefined : ExportFolder.open(exportsDir, bytesMax);
  return new ExportBucket({
    bucket,
    bytesMax,
    // Given with the bucket, as the configuration demands.
    endpoint: config.exportS3Endpoint!,
    accessKeyId: config.exportS3AccessKeyId!,
    secretAccessKey: config.exportS3SecretAccessKey!,
    region: config.exportS3Region,
    prefix: config.exportS3Prefix,
    pathStyle: config.exportS3Addressing === 'path',
    publicEndpoint: config.exportS3PublicEndpoint,
    partBytes: config.exportS3PartBytes,
    partsInFlightMax: config.exportS3PartsInFlightMax,
    requestMsMax: config.exportS3RequestMsMax,
    retryMsMax: config.exportS3RetryMsMax,
  });
}
