import { basename } from 'node:path';
import { promisify } from 'node:util';
import { Problem } from '@fleetwire/runtime/problem';
import type { Response } from 'express';
import { endWhenStalled } from '../exports/export-stream.ts';
import type { Format } from '../exports/formats.ts';
import { StreamedAnswer } from '../line-stream.ts';
import type { ServedFile } from './target.ts';

/** A file on the disk, or the part of it that the client asks for (RFC 9110, 14). */
export class FileAnswer extends StreamedAnswer {
  readonly #path: string;
  readonly #file: ServedFile;

  constructor(path: string, file: ServedFile) {
    super();
    this.#path = path;
    this.#file = file;
  }

  /** @throws {Problem} 410 where the file is gone, 416 */
  override async send(response: Response): Promise<void> {
    const fileHeaders = setFileHeaders(response, this.#file);
    const ending = new AbortController();
    ending.signal.addEventListener('abort', () => response.destroy(), { once: true });
    const watched = endWhenStalled(response, this.#file.stalledMsMax, ending);
    try {
      const sendFile = promisify(response.sendFile.bind(response) as SendFile);
      await sendFile(this.#path, { cacheControl: false, lastModified: false, etag: false, dotfiles: 'allow' });
    } catch (error) {
      if (response.headersSent) return void response.destroy();
      fileHeaders.remove();
      throw problemOf(error, basename(this.#path)) ?? error;
    } finally {
      watched.stop();
    }
  }
}

/** Headers of the answer with a file; those that do not fit a problem are to be removed before one is answered. */
export function setFileHeaders(
  response: Response,
  { format, name, tag, maxAgeSeconds }: ServedFile,
): { remove(): void } {
  const headers = {
    'Content-Type': format.contentType ?? format.mediaType,
    'Content-Disposition': dispositionOf(name, format),
    ETag: `"${tag}"`,
    'Cache-Control': `private, max-age=${maxAgeSeconds}, immutable`,
    'X-Accel-Buffering': 'no',
  };
  for (const [header, value] of Object.entries(headers)) response.setHeader(header, value);
  response.vary('Authorization, Cookie, Origin');
  return {
    remove: () => {
      for (const header of Object.keys(headers)) response.removeHeader(header);
    },
  };
}

export function dispositionOf(name: string, { extension }: Format): string {
  return `attachment; filename="${name}.${extension}"`;
}

type SendFile = (path: string, options: object, done: (error?: Error) => void) => void;

function problemOf(error: unknown, name: string): Problem | undefined {
  const { status, code, headers } = error as NodeJS.ErrnoException & {
    status?: number;
    headers?: Record<string, string>;
  };
  if (status === 416) return beyondEnd(headers?.['Content-Range'] ?? 'bytes */*');
  if (code === 'ENOENT' || status === 404) return fileGone(name);
  return undefined;
}

export function beyondEnd(contentRange: string): Problem {
  return new Problem(416, 'Range not satisfiable', {
    detail: 'The file does not have the range that was asked for',
    headers: { 'Content-Range': contentRange },
  });
}

export function fileGone(name: string): Problem {
  return new Problem(410, 'Gone', { detail: `The file ${name} is no longer there: make the export again` });
}
