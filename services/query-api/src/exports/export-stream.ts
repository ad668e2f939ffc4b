import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Transform } from 'node:stream';
import { constants, createGzip, createZstdCompress } from 'node:zlib';
import { Counter, type Registry } from '@fleetwire/runtime/metrics';
import { badRequest, Problem, unavailable } from '@fleetwire/runtime/problem';
import { isStatementTimeout } from '@fleetwire/store/failure';
import type { Response } from 'express';
import type { Caller } from '../caller.ts';
import { StreamedAnswer } from '../line-stream.ts';
import { isoTime } from '../time-range.ts';
import type { Format } from './formats.ts';
import type { StreamSlots } from './stream-slots.ts';
import type { Table } from './table.ts';
import { ReaderGoneError, writeExport } from './write-export.ts';

export interface ExportStreams {
  readonly slots: StreamSlots;
  readonly msMax: number;
  readonly stalledMsMax: number;
  readonly bytes: Counter<'format' | 'outcome'>;
}

/** How long the line that tells of a failure may take to be sent. */
const farewellMsMax = 1_000;

/** An answer in a format, written while it is read. It ends cleanly only when it is complete. */
export class ExportStream<Row> extends StreamedAnswer {
  readonly #format: Format;
  readonly #caller: Caller;
  readonly #streams: ExportStreams;
  readonly #open: (signal: AbortSignal) => Promise<Table<Row>>;

  constructor(
    format: Format,
    caller: Caller,
    streams: ExportStreams,
    open: (signal: AbortSignal) => Promise<Table<Row>>,
  ) {
    super();
    this.#format = format;
    this.#caller = caller;
    this.#streams = streams;
    this.#open = open;
  }

  /** @throws {Problem} before the first byte */
  override async send(response: Response): Promise<void> {
    const { httpVersionMajor: major, httpVersionMinor: minor } = response.req;
    if (major === 1 && minor === 0)
      throw badRequest(
        'An export over HTTP/1.0 cannot be told from one that was cut: ask for it over HTTP/1.1 (behind nginx: proxy_http_version 1.1)',
      );
    const { slots, msMax, stalledMsMax, bytes: counter } = this.#streams;
    const release = slots.take(this.#caller);
    const ending = new AbortController();
    const onClose = (): void => ending.abort(new ReaderGoneError('the client has gone'));
    response.once('close', onClose);
    const deadline = setTimeout(() => ending.abort(tookTooLong(msMax)), msMax);
    const watched = endWhenStalled(response, stalledMsMax, ending);
    let bytes = 0;
    let outcome = 'failed';
    try {
      bytes = await this.#write(response, ending.signal, (written) => {
        bytes = written;
      });
      outcome = 'complete';
    } catch (error) {
      const isGone = error instanceof ReaderGoneError;
      if (isGone) outcome = 'left';
      if (!response.headersSent && !isGone) throw problemOf(error, msMax);
      if (!isGone) response.req.log?.warn({ err: error, bytes }, 'export failed after it had begun');
      response.destroy();
    } finally {
      clearTimeout(deadline);
      watched.stop();
      response.off('close', onClose);
      counter.inc({ format: this.#format.name, outcome }, bytes);
      release();
    }
  }

  async #write(response: Response, signal: AbortSignal, onProgress: (bytes: number) => void): Promise<number> {
    const format = this.#format;
    if (response.req.method === 'HEAD') {
      response.type(format.contentType ?? format.mediaType).end();
      return 0;
    }
    const table = await this.#open(signal);
    const errorTag = `error-${randomBytes(8).toString('hex')}`;
    const encoding = format.isCompressed ? false : response.req.acceptsEncodings('zstd', 'gzip');
    const compressor = compressorOf(encoding);
    const out = compressor ?? response;
    compressor?.pipe(response);
    const onFirstBytes = (): void => {
      response.setHeader('Content-Type', format.contentType ?? format.mediaType);
      response.setHeader('Content-Disposition', `attachment; filename="${table.name}.${format.extension}"`);
      // nginx would take the answer faster than the client, and keep it in a file.
      response.setHeader('X-Accel-Buffering', 'no');
      response.setHeader('Vary', 'Authorization, Accept, Accept-Encoding, Origin');
      response.setHeader('Trailer', 'X-Fleetwire-Count');
      if (table.estimatedRows !== undefined)
        response.setHeader('X-Fleetwire-Estimated-Rows', String(table.estimatedRows));
      if (table.completeUntil !== null) response.setHeader('X-Fleetwire-Complete-Until', isoTime(table.completeUntil));
      if (format.name === 'ndjson') response.setHeader('X-Fleetwire-Error-Tag', errorTag);
      if (encoding !== false && compressor !== undefined) response.setHeader('Content-Encoding', encoding);
      // A compressor may give out nothing for long. From here on a failure cuts the answer: these headers do not fit a problem.
      response.flushHeaders();
    };
    const onClose = (): void => void compressor?.destroy();
    response.once('close', onClose);
    try {
      const { rows, bytes } = await writeExport(out, format, table, {
        onFirstBytes,
        onProgress: (written) => onProgress(written.bytes),
        signal,
      });
      response.addTrailers({ 'X-Fleetwire-Count': String(rows) });
      out.end();
      await sent(response, signal);
      return bytes;
    } catch (error) {
      if (response.headersSent && format.name === 'ndjson' && !(error instanceof ReaderGoneError))
        await tellFailure(
          out,
          compressor,
          `${JSON.stringify({ [errorTag]: problemOf(error, this.#streams.msMax) })}\n`,
        );
      compressor?.unpipe(response);
      compressor?.destroy();
      throw error;
    } finally {
      response.off('close', onClose);
    }
  }
}

/**
 * Ends an answer of which the client takes nothing for this long, although something is there to be taken. The socket counts what has left it
 * within one write too, so that a slow client is none that has stalled.
 */
export function endWhenStalled(response: Response, stalledMsMax: number, ending: AbortController): { stop(): void } {
  const onTimeout = (): void => {
    if (response.writableLength === 0) return;
    ending.abort(new ReaderGoneError(`the client took nothing for ${stalledMsMax} ms`));
  };
  response.setTimeout(stalledMsMax, onTimeout);
  return {
    stop: () => {
      response.off('timeout', onTimeout);
      response.setTimeout(0);
    },
  };
}

/** Rejects where the client leaves, or the time is over, before it has taken everything. */
async function sent(response: Response, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(signal.reason as Error);
  response.once('finish', resolve);
  signal.addEventListener('abort', onAbort, { once: true });
  if (response.writableFinished) resolve();
  if (signal.aborted) onAbort();
  try {
    await promise;
  } finally {
    response.off('finish', resolve);
    signal.removeEventListener('abort', onAbort);
  }
}

/** As far as the client takes it. */
async function tellFailure(out: NodeJS.WritableStream, compressor: Transform | undefined, line: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  out.write(line, () => resolve());
  await Promise.race([promise, sleep(farewellMsMax)]);
  if (compressor === undefined) return;
  await Promise.race([
    new Promise<void>((flushed) => (compressor as ReturnType<typeof createGzip>).flush(() => flushed())),
    sleep(farewellMsMax),
  ]);
}

function compressorOf(encoding: string | false): Transform | undefined {
  // Fast levels: a slower one would take more time of the machine than the rest of the export.
  if (encoding === 'zstd') return createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  return encoding === 'gzip' ? createGzip({ level: 1 }) : undefined;
}

function problemOf(error: unknown, msMax: number): Problem {
  if (isStatementTimeout(error) || (error instanceof Problem && error.status === 504)) return tookTooLong(msMax);
  if (error instanceof Problem) return error;
  return unavailable('The database did not answer to the end; try again', 5_000);
}

function tookTooLong(msMax: number): Problem {
  return new Problem(504, 'Gateway timeout', {
    detail: `The export took longer than ${msMax} ms (EXPORT_MS_MAX); request less: a shorter time range, fewer devices or metrics`,
  });
}

export function exportedBytesCounter(registry: Registry): Counter<'format' | 'outcome'> {
  return new Counter({
    name: 'fleetwire_export_bytes_total',
    help: 'Bytes of exports before compression, by format and outcome: complete, left (by the client) or failed',
    labelNames: ['format', 'outcome'],
    registers: [registry],
  });
}
