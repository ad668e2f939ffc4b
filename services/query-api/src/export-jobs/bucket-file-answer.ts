import { once } from 'node:events';
import type { Response } from 'express';
import { endWhenStalled } from '../exports/export-stream.ts';
import { StreamedAnswer } from '../line-stream.ts';
import { beyondEnd, fileGone, setFileHeaders } from './file-answer.ts';
import type { ServedFile } from './target.ts';

/** @param range as in the header `Range`. @returns undefined where the object is gone */
type OpenObject = (range: string | undefined, signal: AbortSignal) => Promise<ReadableStream<Uint8Array> | undefined>;

/** An object of a bucket, or the part of it that the client asks for, as it would be answered from a disk. */
export class BucketFileAnswer extends StreamedAnswer {
  readonly #file: ServedFile;
  readonly #open: OpenObject;

  constructor(file: ServedFile, open: OpenObject) {
    super();
    this.#file = file;
    this.#open = open;
  }

  /** @throws {Problem} 410 where the object is gone, 416, 503 */
  override async send(response: Response): Promise<void> {
    const { bytes, stalledMsMax, name } = this.#file;
    const { req: request } = response;
    const fileHeaders = setFileHeaders(response, this.#file);
    response.setHeader('Accept-Ranges', 'bytes');
    if (request.fresh) {
      response.removeHeader('Content-Type');
      return void response.status(304).end();
    }
    const range = this.#rangeOf(response);
    if (range === 'beyond') {
      fileHeaders.remove();
      throw beyondEnd(`bytes */${bytes}`);
    }
    const ending = new AbortController();
    ending.signal.addEventListener('abort', () => response.destroy(), { once: true });
    response.once('close', () => ending.abort(new Error('the client has gone')));
    const watched = endWhenStalled(response, stalledMsMax, ending);
    try {
      const { start, end } = range ?? { start: 0, end: bytes - 1 };
      const isHead = request.method === 'HEAD';
      const content = isHead ? undefined : await this.#open(range && `bytes=${start}-${end}`, ending.signal);
      if (!isHead && content === undefined) throw fileGone(name);
      if (range !== undefined) response.status(206).setHeader('Content-Range', `bytes ${start}-${end}/${bytes}`);
      response.setHeader('Content-Length', String(end - start + 1));
      if (content === undefined) return void response.end();
      for await (const chunk of content) if (!response.write(chunk)) await once(response, 'drain', ending);
      // The connection is cut where the storage ends too early: the length has been announced.
      response.end();
    } catch (error) {
      if (response.headersSent || response.destroyed) return void response.destroy();
      fileHeaders.remove();
      throw error;
    } finally {
      watched.stop();
    }
  }

  /** Several ranges are answered with the whole file, as a disk does (RFC 9110, 14.2). */
  #rangeOf(response: Response): { readonly start: number; readonly end: number } | 'beyond' | undefined {
    const { req: request } = response;
    const ifRange = request.get('if-range');
    if (ifRange !== undefined && ifRange !== response.getHeader('ETag')) return undefined;
    const ranges = request.range(this.#file.bytes, { combine: true });
    if (ranges === -1) return 'beyond';
    if (ranges === undefined || ranges === -2 || ranges.type !== 'bytes' || ranges.length !== 1) return undefined;
    return ranges[0];
  }
}
