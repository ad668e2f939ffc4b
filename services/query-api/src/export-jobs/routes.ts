import { randomUUID } from 'node:crypto';
import { forbidden, notFound, notImplemented, Problem, tooManyRequests, unavailable } from '@fleetwire/runtime/problem';
import {
  createExportJob,
  endExportJob,
  getExportJob,
  type JobOwner,
  listExportJobs,
  type StoredExportJob,
} from '@fleetwire/store/exports/export-jobs';
import Type from 'typebox';
import type { Caller } from '../caller.ts';
import { Cursor, cursorCodec, positionFields } from '../cursor.ts';
import { formatOf, type FormatName } from '../exports/formats.ts';
import type { ReadingsExport } from '../exports/readings-table.ts';
import { type ApiContext, route } from '../route.ts';
import { PageOf, toPage } from '../schemas.ts';
import { ExportJob, ExportRequest, fileNameOf, JobId, onlyDeviceOf, presentJob, questionOf } from './schemas.ts';

const cursors = cursorCodec(Type.Object({ number: positionFields.number }));
const roles = ['device', 'analyst', 'operator', 'admin'] as const;
const common = { tag: 'Exports', roles, ownDataOnly: 'checked-by-handler' } as const;
const retryAfterMs = 30_000;
/** The longest that a signature of version 4 holds. */
const addressSecondsMax = 7 * 24 * 3_600;
const fileHeaders = { ETag: 'Of the file, which never changes', 'Content-Disposition': 'Its name' };

export const exportJobRoutes = [
  route({
    ...common,
    method: 'post',
    path: '/exports',
    operationId: 'createExport',
    summary: 'Export stored readings to a file, in the background',
    description:
      'The same as the streams of `GET /readings`, for exports that take long: the job goes on without you, and survives a restart of the service. ' +
      'Read its state at `Location`, and the file at `_links.file`, in parts if you like. A device may export its own readings only. docs/exports.md',
    body: ExportRequest,
    success: {
      status: 202,
      description: 'The job is queued',
      schema: ExportJob,
      headers: { Location: 'The job' },
    },
    problems: [501, 507],
    handler: async ({ body, caller, now, setHeader, signal }, api) => {
      const { target, runner, database, perCallerMax, pendingMax, refused } = jobsOf(api);
      const question = questionOf(body, now);
      if (caller.role === 'device' && onlyDeviceOf(question) !== caller.sub)
        throw forbidden(`Device ${caller.sub} may export only its own readings: devices: ["${caller.sub}"]`);
      if (target.count.bytes >= target.count.bytesMax) {
        refused.inc({ reason: 'export-folder' });
        throw target.count.full();
      }
      const { queue } = runner;
      if (queue === undefined) throw unavailable('The queue of export jobs is not available; try again', 5_000);
      const id = randomUUID();
      const job = await database.run(createExportJob, {
        id,
        owner: ownerOf(caller),
        question,
        format: body.format,
        perCallerMax,
        pendingMax,
        enqueue: (client) => queue.send(client, id),
        signal,
      });
      if ('full' in job) {
        refused.inc({ reason: 'export-jobs' });
        throw tooMany(job);
      }
      queue.wake();
      setHeader('Location', `/api/v1/exports/${id}`);
      return presentJob(job, now);
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/exports',
    operationId: 'listExports',
    summary: 'Export jobs, newest first',
    description:
      'Your own; operators and admins see those of all. A job is listed for 7 days after its end; of one caller the newest 100 that have ended.',
    query: {
      limit: Type.Integer({ minimum: 1, maximum: 500, default: 100, description: 'Jobs in one page' }),
      cursor: Type.Optional(Cursor),
    },
    success: { status: 200, description: 'One page of jobs', schema: PageOf(ExportJob, {}, {}) },
    problems: [501],
    handler: async ({ query: { limit, cursor }, caller, now, pageBytes }, api) => {
      const { database } = jobsOf(api);
      const scope = { list: 'exports', ...ownerOf(caller) };
      const before = cursor === undefined ? undefined : cursors.decode(scope, cursor).number;
      const found = await database.run(listExportJobs, {
        owner: seenBy(caller),
        before,
        limit: limit + 1,
        ...pageBytes,
      });
      const { rows, covered, page } = toPage(found, { limit, bytesMax: pageBytes.bytesMax }, ({ job: { number } }) =>
        cursors.encode(scope, { number }),
      );
      return { data: rows.map(({ job }) => presentJob(job, now)), covers: covered, page };
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/exports/{id}',
    operationId: 'getExport',
    summary: 'One export job and its state',
    params: { id: JobId },
    success: { status: 200, description: 'The job', schema: ExportJob },
    problems: [404, 501],
    handler: async ({ params: { id }, caller, now, signal }, api) => {
      const { target } = jobsOf(api);
      const job = await jobOf(id, caller, signal, api);
      const file = fileOf(job);
      const seconds = file === undefined ? 0 : Math.min(addressSecondsMax, Math.floor((file.expiresAt - now) / 1_000));
      const isHere = seconds > 0 && job.folder === target.id;
      return presentJob(job, now, isHere ? await target.addressOf({ ...file!, seconds }) : undefined);
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/exports/{id}/file',
    operationId: 'getExportFile',
    summary: 'The file of an export job, or a part of it',
    description:
      'With a strong ETag, `Range` and `If-Range`, so that a download may be continued. 409 while there is no file yet, 410 when there is none any more. ' +
      'Where the file is on the disk of one instance, another one answers 404 `file-elsewhere`, and nginx asks the others.',
    params: { id: JobId },
    success: {
      status: 200,
      description: 'The file',
      schema: Type.Unsafe<never>(Type.String({ format: 'binary' })),
      headers: fileHeaders,
      parts: fileHeaders,
    },
    problems: [404, 409, 410, 416, 501],
    handler: async ({ params: { id }, caller, now, signal }, api) => {
      const { target, stalledMsMax } = jobsOf(api);
      const job = await jobOf(id, caller, signal, api);
      const file = fileOf(job);
      if (file === undefined) throw withoutFile(job);
      if (job.folder !== target.id)
        throw new Problem(404, 'File elsewhere', {
          detail:
            'The file is on the disk of another instance of query-api: ask that one, or all of them through nginx, or give all instances one folder (EXPORTS_DIR) or bucket (EXPORT_S3_BUCKET)',
        });
      return target.answer({
        ...file,
        name: fileNameOf(job.question as ReadingsExport),
        bytes: job.bytes,
        maxAgeSeconds: Math.max(0, Math.floor((file.expiresAt - now) / 1_000)),
        stalledMsMax,
      }) as never;
    },
  }),
  route({
    ...common,
    method: 'delete',
    path: '/exports/{id}',
    operationId: 'deleteExport',
    summary: 'Cancel an export job; or remove one that has ended, with its file',
    params: { id: JobId },
    success: { status: 200, description: 'The job as it is now, cancelled; or as it was, removed', schema: ExportJob },
    problems: [404, 501],
    handler: async ({ params: { id }, caller, now, signal }, api) => {
      const { database, runner } = jobsOf(api);
      const job = await database.run(endExportJob, { id, owner: seenBy(caller), signal });
      if (job === undefined) throw unknownJob(id);
      // One that runs notices it within a second, on whichever instance it is.
      if (job.state === 'cancelled') await runner.queue?.cancel(id);
      else void runner.sweep();
      return presentJob(job, now);
    },
  }),
];

/** Undefined while there is none, or no longer. */
function fileOf({ id, state, run, digest: tag, expiresAt, format }: StoredExportJob) {
  if (state !== 'succeeded' || run === null || tag === null || expiresAt === null) return undefined;
  return { id, run, tag, expiresAt, format: formatOf(format as FormatName, undefined)! };
}

/** @throws {Problem} 501 */
function jobsOf({ exportJobs }: ApiContext) {
  if (exportJobs !== undefined) return exportJobs;
  throw notImplemented(
    'This instance has no place for the files of export jobs: a folder (EXPORTS_DIR) or a bucket (EXPORT_S3_BUCKET)',
  );
}

/** @throws {Problem} 404, of a job of another caller too */
async function jobOf(id: string, caller: Caller, signal: AbortSignal, api: ApiContext): Promise<StoredExportJob> {
  const job = await jobsOf(api).database.run(getExportJob, { id, owner: seenBy(caller), signal });
  if (job === undefined) throw unknownJob(id);
  return job;
}

function ownerOf({ role, sub }: Caller): JobOwner {
  return { role, sub };
}

/** Undefined: all jobs. */
function seenBy(caller: Caller): JobOwner | undefined {
  return caller.role === 'operator' || caller.role === 'admin' ? undefined : ownerOf(caller);
}

function unknownJob(id: string): Problem {
  return notFound(`There is no export job ${id}`);
}

function tooMany({ full, jobs }: { readonly full: 'caller' | 'queue'; readonly jobs: number }): Problem {
  if (full === 'queue')
    return unavailable(
      `${jobs} export jobs are queued or running; at most that many (EXPORT_JOBS_PENDING_MAX). Try again later`,
      retryAfterMs,
    );
  return tooManyRequests(
    `You have ${jobs} export jobs that are pending or have a file; at most that many (EXPORT_JOBS_PER_CALLER_MAX). Delete those that you no longer need`,
    retryAfterMs,
    { limit: 'export-jobs' },
  );
}

function withoutFile({ id, state, problem }: StoredExportJob): Problem {
  if (state === 'expired')
    return new Problem(410, 'Gone', {
      detail: 'The file has expired (EXPORT_RETENTION_HOURS): make the export again',
    });
  const isComing = state === 'queued' || state === 'running';
  return new Problem(409, 'Export not ready', {
    detail: isComing
      ? `The export job ${id} is ${state}: its file is there once it has succeeded`
      : `The export job ${id} is ${state}: it has no file`,
    extensions: { state, ...(problem !== null && { problem }) },
    ...(isComing && { headers: { 'Retry-After': '5' } }),
  });
}
