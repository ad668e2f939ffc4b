import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { answerOf, ApiProblem, type FleetwireClient } from '@fleetwire/client/client';
import type { components } from '@fleetwire/client/openapi';
import { countText, Progress } from './progress.ts';

type ExportRequest = components['schemas']['ExportRequest'];
type ExportJob = components['schemas']['ExportJob'];

const pollEveryMs = 1_000;
/** Tries in a row of which none brings a byte, or an answer. */
const failuresMax = 8;
const retryMsMax = 10_000;

interface JobExport {
  readonly api: FleetwireClient;
  readonly signal: AbortSignal;
  readonly out: string;
}

/** Makes a job. @returns its id */
export async function startExportJob({ api }: JobExport, request: ExportRequest): Promise<string> {
  const { id } = await answerOf(api.POST('/api/v1/exports', { body: request }));
  process.stderr.write(`export job ${id}; if this command is interrupted, continue with --job ${id}\n`);
  return id;
}

/**
 * Waits for the end of a job and downloads its file, from where an earlier download of it ended. Removes the job.
 * @returns the size of the file in bytes
 */
export async function finishExportJob(options: JobExport, id: string): Promise<number> {
  const progress = new Progress();
  try {
    const job = await ended(options, id, progress);
    if (job.state !== 'succeeded') throw new Error(`export job ${id} is ${job.state}${reasonOf(job)}`);
    await download(options, job, progress);
    // Its file is not needed any longer, and counts against the jobs of this caller.
    await answerOf(options.api.DELETE('/api/v1/exports/{id}', { params: { path: { id } } })).catch(() => {});
    return job.bytes;
  } finally {
    progress.clear();
  }
}

async function ended({ api, signal }: JobExport, id: string, progress: Progress): Promise<ExportJob> {
  for (let failures = 0; ;) {
    try {
      const job = await answerOf(api.GET('/api/v1/exports/{id}', { params: { path: { id } } }));
      failures = 0;
      if (job.state !== 'queued' && job.state !== 'running') return job;
      const share = job.percent === null ? undefined : job.percent / 100;
      progress.show(share, job.state === 'queued' ? 'queued' : countText(job.rows, 'reading'));
    } catch (error) {
      signal.throwIfAborted();
      failures += 1;
      if (!isPassing(error) || failures > failuresMax) throw error;
    }
    await sleep(pollEveryMs, undefined, { signal });
  }
}

async function download(options: JobExport, job: ExportJob, progress: Progress): Promise<void> {
  const { signal, out } = options;
  const partial = `${out}.${job.id}.part`;
  for (let failures = 0, size = await sizeOf(partial); size < job.bytes;) {
    let failure: unknown;
    await downloadPart(options, job, { partial, size, progress }).catch((error: unknown) => (failure = error));
    signal.throwIfAborted();
    const before = size;
    size = await sizeOf(partial);
    if (failure === undefined) continue;
    failures = size > before ? 0 : failures + 1;
    if (!isPassing(failure) || failures > failuresMax)
      throw new Error(`the download was cut after ${size} of ${job.bytes} bytes, continue with --job ${job.id}`, {
        cause: failure,
      });
    await sleep(Math.min(retryMsMax, 100 * 2 ** failures), undefined, { signal });
  }
  const hash = createHash('sha256');
  // An empty file has not been asked for.
  if (job.bytes > 0) await pipeline(createReadStream(partial), hash, { signal });
  if (job.bytes > 0 && hash.digest('base64url') !== job.digest) {
    await rm(partial, { force: true });
    throw new Error(`the file is not that of the export job ${job.id}: download it again with --job ${job.id}`);
  }
  await rename(partial, out);
}

async function downloadPart(
  { api, signal }: JobExport,
  { id, bytes, digest }: ExportJob,
  { partial, size, progress }: { readonly partial: string; readonly size: number; readonly progress: Progress },
): Promise<void> {
  const call = api.GET('/api/v1/exports/{id}/file', {
    params: { path: { id } },
    parseAs: 'stream',
    headers: {
      // The size on the disk is that of the file only without compression on the way.
      'accept-encoding': 'identity',
      ...(size > 0 && { range: `bytes=${size}-`, 'if-range': `"${digest}"` }),
    },
  });
  const content = await answerOf<ReadableStream>(call as never);
  const isRest = (await call).response.status === 206;
  let done = isRest ? size : 0;
  const counting = new Transform({
    transform(chunk: Buffer, _encoding, next) {
      done += chunk.length;
      progress.show(done / bytes, `${(done / 1e6).toFixed(1)} of ${(bytes / 1e6).toFixed(1)} MB`);
      next(null, chunk);
    },
  });
  const file = createWriteStream(partial, { flags: isRest ? 'a' : 'w' });
  await pipeline(Readable.fromWeb(content as never), counting, file, { signal });
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

/** Of the network, or of a service that is busy or restarts. */
function isPassing(error: unknown): boolean {
  return !(error instanceof ApiProblem) || [429, 502, 503, 504].includes(error.status);
}

function reasonOf({ problem }: ExportJob): string {
  const detail = (problem as { readonly detail?: string } | null)?.detail;
  return detail === undefined ? '' : `: ${detail}`;
}
