import { DeviceId } from '@fleetwire/contracts/identifiers';
import { badRequest } from '@fleetwire/runtime/problem';
import { exportJobStates, type StoredExportJob } from '@fleetwire/store/exports/export-jobs';
import Type, { type Static } from 'typebox';
import { FormatParameter, type FormatName } from '../exports/formats.ts';
import { layouts, type ReadingsExport } from '../exports/readings-table.ts';
import { orNull, Time } from '../schemas.ts';
import { MetricName, selectionParameters } from '../series/schemas.ts';
import { Instant, isoTime, parseRange } from '../time-range.ts';

const devicesMax = 10_000;
const metricsMax = 50;

export const JobId = Type.String({ format: 'uuid', description: 'Id of an export job' });

const { pattern, tag, type } = selectionParameters;
const wanted = {
  devices: Type.Optional(
    Type.Array(DeviceId, { minItems: 1, maxItems: devicesMax, description: 'Only these devices' }),
  ),
  pattern,
  tag,
  type,
  metrics: Type.Optional(
    Type.Array(MetricName, {
      minItems: 1,
      maxItems: metricsMax,
      description: 'Only these metrics; readings without any of them are left out',
    }),
  ),
  layout: Type.Optional(
    Type.Enum([...layouts], {
      description: 'Of csv, parquet and arrow: a column for each metric, or a row for each value',
    }),
  ),
};

export const ExportRequest = Type.Object(
  {
    ...wanted,
    format: FormatParameter,
    from: Type.Optional(Instant('Start of the range, included')),
    to: Type.Optional(Instant('End of the range, excluded')),
  },
  {
    title: 'ExportRequest',
    additionalProperties: false,
    examples: [{ pattern: 'press-*', from: 'now-30d', format: 'parquet' }],
  },
);

/** As the job keeps it: relative times mean the moment at which it was made. */
type Question = Omit<ReadingsExport, 'order' | 'onlyDevice'>;

/** @throws {Problem} 400 */
export function questionOf(
  { devices, pattern: glob, tag: one, type: kind, ...request }: Static<typeof ExportRequest>,
  now: number,
): Question {
  const selection = { devices, pattern: glob, tag: one, type: kind };
  if (Object.values(selection).every((value) => value === undefined))
    throw badRequest('The export is not valid', [
      { field: 'body.devices', detail: 'is missing; say which devices with devices, pattern (* for all), tag or type' },
    ]);
  const { metrics, layout = 'wide' } = request;
  return { selection, metrics, layout, ...parseRange(request, now) };
}

/** The only device of a job: its readings are in order, and its name is that of the file. */
export function onlyDeviceOf({ selection: { devices, pattern: glob, tag: one, type: kind } }: Question) {
  return devices?.length === 1 && (glob ?? one ?? kind) === undefined ? devices[0] : undefined;
}

/** Of the file of a job, without its extension. */
export function fileNameOf(question: Question): string {
  return onlyDeviceOf(question) ?? 'readings';
}

export const ExportJob = Type.Object(
  {
    id: JobId,
    type: Type.Literal('export'),
    state: Type.Enum([...exportJobStates], {
      description:
        'queued; running; and its ends: succeeded: its file is there until expiresAt, failed (`problem`), cancelled, expired: its file is gone',
    }),
    format: FormatParameter,
    question: Type.Object({ ...wanted, from: Time, to: Time }, { description: 'What was asked for' }),
    percent: orNull(Type.Integer({ minimum: 0, maximum: 100 }), 'By an estimate of the rows; null where there is none'),
    rows: Type.Integer({ minimum: 0, description: 'Readings that have been written' }),
    bytes: Type.Integer({ minimum: 0, description: 'Size of the file, as far as it is written' }),
    attempt: Type.Integer({ description: 'How often it was begun; each time from its beginning' }),
    createdAt: Time,
    createdBy: Type.String({ description: 'Subject of the token with which it was made' }),
    startedAt: orNull(Time, 'When this attempt began'),
    estimatedEndAt: orNull(Time, 'While it runs; null where nothing is known'),
    finishedAt: orNull(Time, 'When it ended'),
    expiresAt: orNull(Time, 'Until when its file is kept (EXPORT_RETENTION_HOURS)'),
    completeUntil: orNull(Time, 'Every reading acknowledged before this time is in the file, or a dead letter'),
    digest: orNull(Type.String(), 'SHA-256 of the file, base64url; also its ETag'),
    problem: Type.Unknown({
      description:
        'Why it failed, or why its last attempt did while it is run again: a problem document; null otherwise',
    }),
    _links: Type.Record(Type.String(), Type.String(), {
      description:
        'self; file: the file, once it is there; address: the file in the storage, for anyone who has this address, until expiresAt, 7 days at most (EXPORT_S3_PUBLIC_ENDPOINT)',
    }),
  },
  { title: 'ExportJob' },
);

/** Less of an export is too little to estimate its end from. */
const estimatedFrom = 0.01;

/** @param address of its file in the storage */
export function presentJob(job: StoredExportJob, now: number, address?: string): Static<typeof ExportJob> {
  const { id, state, rows, estimatedRows, startedAt } = job;
  const { selection, metrics, from, to, layout } = job.question as Question;
  const isDone = state === 'succeeded' || state === 'expired';
  const share = estimatedRows === null || estimatedRows === 0 ? undefined : Math.min(rows / estimatedRows, 0.99);
  const isEstimated = state === 'running' && startedAt !== null && share !== undefined && share >= estimatedFrom;
  const self = `/api/v1/exports/${id}`;
  return {
    id,
    type: 'export',
    state,
    format: job.format as FormatName,
    question: {
      ...(selection as object),
      ...(metrics && { metrics: [...metrics] }),
      from: isoTime(from),
      to: isoTime(to),
      layout,
    },
    percent: isDone ? 100 : state === 'running' && share !== undefined ? Math.floor(share * 100) : null,
    rows,
    bytes: job.bytes,
    attempt: job.attempt,
    createdAt: isoTime(job.createdAt),
    createdBy: job.createdBy,
    startedAt: timeOrNull(startedAt),
    estimatedEndAt: isEstimated ? isoTime(startedAt + (now - startedAt) / share) : null,
    finishedAt: timeOrNull(job.finishedAt),
    expiresAt: timeOrNull(job.expiresAt),
    completeUntil: timeOrNull(job.completeUntil),
    digest: job.digest,
    problem: job.problem,
    _links: {
      self,
      ...(state === 'succeeded' && { file: `${self}/file` }),
      ...(address !== undefined && { address }),
    },
  };
}

function timeOrNull(epochMs: number | null): string | null {
  return epochMs === null ? null : isoTime(epochMs);
}
