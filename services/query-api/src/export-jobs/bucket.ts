import { createHash } from 'node:crypto';
import type { Writable } from 'node:stream';
import { Problem, unavailable } from '@fleetwire/runtime/problem';
import type { Format } from '../exports/formats.ts';
import { BucketFileAnswer } from './bucket-file-answer.ts';
import { dispositionOf } from './file-answer.ts';
import { abortUpload, uploadStream } from './multipart-upload.ts';
import { elementsIn, S3Client, S3Error, type S3Options, S3UnavailableError } from './s3-client.ts';
import {
  ByteCount,
  Counting,
  type ExportTarget,
  type FileOf,
  type ListedFile,
  type NewFile,
  type ServedFile,
  writeThrough,
  type WrittenFile,
} from './target.ts';

export interface BucketOptions extends S3Options {
  /** Begins the key of every object. */
  readonly prefix: string;
  readonly partBytes: number;
  readonly partsInFlightMax: number;
  readonly bytesMax: number;
  /** Where clients reach the storage; undefined where they do not. */
  readonly publicEndpoint: string | undefined;
}

const objectName = /^([0-9a-f-]{36})\.([0-9a-f-]{36})\.[a-z]+$/;
/** Of a list, each of up to 1,000 entries: other objects below the prefix are not expected. */
const pagesMax = 100;
const retryAfterMs = 5_000;

/** A bucket of a storage that speaks S3. An upload that is not finished is no object yet. */
export class ExportBucket implements ExportTarget {
  readonly id: string;
  readonly #options: BucketOptions;
  readonly #client: S3Client;
  readonly count: ByteCount;
  /** Bytes of uploads of this process that are not finished. */
  #uploading = 0;

  constructor(options: BucketOptions) {
    const { endpoint, bucket, prefix, bytesMax } = options;
    this.#options = options;
    this.#client = new S3Client(options);
    this.count = new ByteCount(bytesMax);
    this.id = uuidOf(JSON.stringify([new URL(endpoint).href, bucket, prefix]));
  }

  async files(signal: AbortSignal): Promise<readonly ListedFile[]> {
    const { prefix } = this.#options;
    let bytes = 0;
    const files: ListedFile[] = [];
    const add = (key: string, remove: () => Promise<unknown>): void => {
      const [, id, run] = (key.startsWith(prefix) && objectName.exec(key.slice(prefix.length))) || [];
      if (id !== undefined && run !== undefined) files.push({ id, run, remove: () => gone(remove()) });
    };
    for await (const page of this.#pages(
      { 'list-type': '2', prefix },
      { 'continuation-token': 'NextContinuationToken' },
      signal,
    )) {
      for (const object of elementsIn(page, 'Contents')) {
        const [[key = ''], [size]] = [elementsIn(object, 'Key'), elementsIn(object, 'Size')];
        bytes += Number(size);
        add(key, async () => {
          await this.#client.send({ method: 'DELETE', key, signal, retryMsMax: 0 });
          this.count.giveBack(Number(size));
        });
      }
    }
    const markers = { 'key-marker': 'NextKeyMarker', 'upload-id-marker': 'NextUploadIdMarker' };
    // Without the prefix, which MinIO takes for the whole name of an object: github.com/minio/minio/issues/20989.
    for await (const page of this.#pages({ uploads: '' }, markers, signal)) {
      for (const upload of elementsIn(page, 'Upload')) {
        const [[key = ''], [uploadId = '']] = [elementsIn(upload, 'Key'), elementsIn(upload, 'UploadId')];
        add(key, () => abortUpload(this.#client, { key, uploadId, signal }));
      }
    }
    this.count.see(bytes + this.#uploading);
    return files;
  }

  async write(file: NewFile, write: (out: Writable) => Promise<unknown>): Promise<WrittenFile> {
    const { partBytes, partsInFlightMax } = this.#options;
    const { format, name } = file;
    const counting = new Counting((bytes) => {
      this.count.take(bytes);
      this.#uploading += bytes;
    });
    const failing = new AbortController();
    counting.once('error', (error) => failing.abort(error));
    try {
      await writeThrough(
        counting,
        (source) =>
          uploadStream(source, {
            client: this.#client,
            key: this.#keyOf(file),
            headers: {
              'content-type': format.contentType ?? format.mediaType,
              'content-disposition': dispositionOf(name, format),
            },
            partBytes,
            partsInFlightMax,
            signal: AbortSignal.any([file.signal, failing.signal]),
          }),
        write,
      );
      return { bytes: counting.bytes, digest: counting.digest() };
    } catch (error) {
      this.count.giveBack(counting.bytes);
      throw storageProblem(error) ?? error;
    } finally {
      this.#uploading -= counting.bytes;
    }
  }

  answer(file: ServedFile): BucketFileAnswer {
    const key = this.#keyOf(file);
    return new BucketFileAnswer(file, async (range, signal) => {
      try {
        const headers = range === undefined ? {} : { range };
        return await this.#client.open({ method: 'GET', key, headers, signal, retryMsMax: retryAfterMs });
      } catch (error) {
        if (error instanceof S3Error && error.code === 'NoSuchKey') return undefined;
        if (error instanceof S3Error || error instanceof S3UnavailableError)
          throw unavailable(`The storage with the file does not give it: ${error.message}`, retryAfterMs);
        throw error;
      }
    });
  }

  async addressOf({ seconds, ...file }: FileOf & { format: Format; seconds: number }): Promise<string | undefined> {
    const { publicEndpoint } = this.#options;
    return publicEndpoint === undefined ? undefined : this.#client.presign(publicEndpoint, this.#keyOf(file), seconds);
  }

  #keyOf({ id, run, format: { extension } }: FileOf & { readonly format: Format }): string {
    return `${this.#options.prefix}${id}.${run}.${extension}`;
  }

  /** @param markers of the next page: the parameter, and the element that has it */
  async *#pages(
    query: Readonly<Record<string, string>>,
    markers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): AsyncGenerator<string, void> {
    let from: Record<string, string> = {};
    for (let pages = 0; pages < pagesMax; pages += 1) {
      const { text } = await this.#client.send({ method: 'GET', query: { ...query, ...from }, signal, retryMsMax: 0 });
      yield text;
      if (elementsIn(text, 'IsTruncated')[0] !== 'true') return;
      from = Object.fromEntries(
        Object.entries(markers).map(([name, element]) => [name, elementsIn(text, element)[0] ?? '']),
      );
    }
    throw new Error(`the bucket has more than ${pagesMax} pages of objects that begin with EXPORT_S3_PREFIX`);
  }
}

/** Another instance may have removed it. */
async function gone(removing: Promise<unknown>): Promise<void> {
  await removing.catch((error: unknown) => {
    if (!(error instanceof S3Error) || error.status !== 404) throw error;
  });
}

/** Undefined where it is not of the storage. */
function storageProblem(error: unknown): Problem | undefined {
  if (error instanceof S3UnavailableError)
    return new Problem(503, 'Service unavailable', {
      detail: `The storage of the files of exports is away: ${error.message}`,
      cause: error,
    });
  if (!(error instanceof S3Error)) return undefined;
  if (error.code === 'NoSuchUpload')
    return new Problem(503, 'Service unavailable', {
      detail: 'The storage of the files of exports has dropped the upload',
      cause: error,
    });
  const detail = `The storage of the files of exports refused the file: ${error.message}. An operator has to look at the bucket and at EXPORT_S3_ACCESS_KEY_ID`;
  return new Problem(502, 'Bad gateway', { detail, cause: error });
}

/** A UUID of version 8 (RFC 9562, 5.8). */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
