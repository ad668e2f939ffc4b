import { createHash, type Hash } from 'node:crypto';
import { Transform, type TransformCallback, type Writable } from 'node:stream';
import { Problem } from '@fleetwire/runtime/problem';
import type { Format } from '../exports/formats.ts';
import { ReaderGoneError } from '../exports/write-export.ts';
import type { StreamedAnswer } from '../line-stream.ts';

/** One file of a target: the job, and which attempt of it wrote the file. */
export interface FileOf {
  readonly id: string;
  readonly run: string;
}

/** A file, or an unfinished one. */
export interface ListedFile extends FileOf {
  remove(): Promise<void>;
}

export interface WrittenFile {
  readonly bytes: number;
  /** SHA-256, base64url. */
  readonly digest: string;
}

/** A file that is to be written. */
export interface NewFile extends FileOf {
  readonly format: Format;
  /** Under which it is downloaded. */
  readonly name: string;
  readonly signal: AbortSignal;
}

/** A file that is there. */
export interface ServedFile extends FileOf {
  readonly format: Format;
  /** Under which it is downloaded. */
  readonly name: string;
  readonly bytes: number;
  /** Without quotes. */
  readonly tag: string;
  /** For which the answer may be kept: the file does not change. */
  readonly maxAgeSeconds: number;
  readonly stalledMsMax: number;
}

/** Where the files of export jobs are. Several instances may have one: each attempt of a job has a file of its own. */
export interface ExportTarget {
  /** A UUID, by which the row of a job says where its file is. */
  readonly id: string;
  readonly count: ByteCount;
  /** All files, unfinished ones too; counts their bytes. */
  files(signal: AbortSignal): Promise<readonly ListedFile[]>;
  /**
   * Writes a file that is there only when it is complete.
   * @throws {Problem} 507 where the target is full, 503 where it is away, 502 where it refuses the file
   */
  write(file: NewFile, write: (out: Writable) => Promise<unknown>): Promise<WrittenFile>;
  answer(file: ServedFile): StreamedAnswer;
  /** An address at which the file may be read without a token; undefined where there is none. */
  addressOf(file: FileOf & { readonly format: Format; readonly seconds: number }): Promise<string | undefined>;
}

/** The bytes of all files, also of those that other instances write. */
export class ByteCount {
  readonly bytesMax: number;
  /** By the last look at the files, and what this process has written and removed since. */
  #seen = 0;
  /** By the last look at the rows of the jobs, and what this process has written since. */
  #recorded = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytes(): number {
    return Math.max(this.#seen, this.#recorded);
  }

  see(bytes: number): void {
    this.#seen = bytes;
    this.#recorded = 0;
  }

  record(bytes: number): void {
    this.#recorded = bytes;
  }

  /** @throws {Problem} 507 */
  take(bytes: number): void {
    if (this.bytes + bytes > this.bytesMax) throw this.full();
    this.#seen += bytes;
    this.#recorded += bytes;
  }

  giveBack(bytes: number): void {
    this.#seen -= bytes;
  }

  full(): Problem {
    return new Problem(507, 'Insufficient storage', {
      detail: `The files of export jobs may have ${this.bytesMax} bytes together (EXPORT_BYTES_MAX), and have ${this.bytes}. Delete exports that are no longer needed, or export less`,
    });
  }
}

/** Counts and hashes what passes. */
export class Counting extends Transform {
  bytes = 0;
  readonly #hash: Hash = createHash('sha256');
  readonly #take: (bytes: number) => void;

  constructor(take: (bytes: number) => void) {
    super({ highWaterMark: 1024 * 1024 });
    this.#take = take;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.#take(chunk.length);
    } catch (error) {
      return done(error as Error);
    }
    this.bytes += chunk.length;
    this.#hash.update(chunk);
    done(null, chunk);
  }

  digest(): string {
    return this.#hash.digest('base64url');
  }
}

/**
 * Lets `write` write into `counting`, while `store` stores what comes out of it.
 * @throws what failed first; both have ended then
 */
export async function writeThrough(
  counting: Counting,
  store: (source: Counting) => Promise<void>,
  write: (out: Writable) => Promise<unknown>,
): Promise<void> {
  // Where the storing fails, `write` learns of it from the closed stream.
  const storing = store(counting).catch((error: unknown) => {
    counting.destroy(error as Error);
    throw error;
  });
  const writing = write(counting).then(
    () => void counting.end(),
    (error: unknown) => {
      counting.destroy(error as Error);
      throw error;
    },
  );
  const [stored, written] = await Promise.allSettled([storing, writing]);
  if (written.status === 'rejected' && !(written.reason instanceof ReaderGoneError)) throw written.reason;
  if (stored.status === 'rejected') throw stored.reason;
}
