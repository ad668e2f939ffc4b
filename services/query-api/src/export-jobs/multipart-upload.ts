import type { S3Client } from './s3-client.ts';
import { elementsIn, S3Error } from './s3-client.ts';

interface UploadOptions {
  readonly client: S3Client;
  readonly key: string;
  /** Of the object: Content-Type and the like. */
  readonly headers: Readonly<Record<string, string>>;
  /** Size of each part but the last. */
  readonly partBytes: number;
  readonly partsInFlightMax: number;
  readonly signal: AbortSignal;
}

const abortMsMax = 5_000;

/**
 * Uploads a stream as one object, which appears when all of it is there. It holds `partsInFlightMax + 1` parts in memory, and `fetch` a copy of
 * those in flight.
 * @throws what the source throws; {S3Error} {S3UnavailableError}
 */
export async function uploadStream(source: AsyncIterable<Buffer>, options: UploadOptions): Promise<void> {
  const { client, key, headers, signal } = options;
  const { text } = await client.send({ method: 'POST', key, query: { uploads: '' }, headers, signal });
  const [uploadId] = elementsIn(text, 'UploadId');
  if (uploadId === undefined) throw new Error('the storage began an upload and did not name it');
  try {
    const { tags, bytes } = await uploadParts(source, uploadId, options);
    await completeUpload(client, { key, uploadId, tags, bytes, signal });
  } catch (error) {
    // Where the storage is away, the sweep finds the upload later.
    await abortUpload(client, { key, uploadId, signal: AbortSignal.timeout(abortMsMax) }).catch(() => {});
    throw error;
  }
}

/** Forgets an upload and its parts. */
export async function abortUpload(
  client: S3Client,
  { key, uploadId, signal }: { readonly key: string; readonly uploadId: string; readonly signal: AbortSignal },
): Promise<void> {
  await client.send({ method: 'DELETE', key, query: { uploadId }, signal });
}

async function uploadParts(
  source: AsyncIterable<Buffer>,
  uploadId: string,
  { client, key, partBytes, partsInFlightMax, signal: ending }: UploadOptions,
): Promise<{ readonly tags: readonly string[]; readonly bytes: number }> {
  const failing = new AbortController();
  const signal = AbortSignal.any([ending, failing.signal]);
  const tags: string[] = [];
  const inFlight = new Set<Promise<void>>();
  let bytes = 0;
  const upload = async (partNumber: number, body: Uint8Array<ArrayBuffer>): Promise<void> => {
    const query = { partNumber: String(partNumber), uploadId };
    const answer = await client.send({ method: 'PUT', key, query, body, signal });
    tags[partNumber - 1] = answer.headers.get('etag') ?? '';
  };
  const begin = async (body: Uint8Array<ArrayBuffer>): Promise<void> => {
    bytes += body.length;
    const uploading: Promise<void> = upload(tags.push(''), body).finally(() => inFlight.delete(uploading));
    // Its failure is thrown by whichever `await` comes next.
    uploading.catch((error: unknown) => failing.abort(error));
    inFlight.add(uploading);
    if (inFlight.size >= partsInFlightMax) await Promise.race(inFlight);
  };
  try {
    let part = Buffer.allocUnsafeSlow(partBytes);
    let filled = 0;
    for await (const chunk of source) {
      signal.throwIfAborted();
      for (let taken = 0; taken < chunk.length;) {
        const copied = chunk.copy(part, filled, taken);
        taken += copied;
        filled += copied;
        if (filled < partBytes) continue;
        await begin(part);
        part = Buffer.allocUnsafeSlow(partBytes);
        filled = 0;
      }
    }
    if (filled > 0 || tags.length === 0) await begin(part.subarray(0, filled));
    await Promise.all(inFlight);
    return { tags, bytes };
  } catch (error) {
    failing.abort(error);
    // A part that arrives after the end of its upload would stay.
    await Promise.allSettled(inFlight);
    throw error;
  }
}

interface Completion {
  readonly key: string;
  readonly uploadId: string;
  readonly tags: readonly string[];
  readonly bytes: number;
  readonly signal: AbortSignal;
}

async function completeUpload(client: S3Client, { key, uploadId, tags, bytes, signal }: Completion): Promise<void> {
  const parts = tags.map((tag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${tag}</ETag></Part>`);
  const body = Buffer.from(`<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`);
  try {
    await client.send({ method: 'POST', key, query: { uploadId }, body, signal });
  } catch (error) {
    if (!(error instanceof S3Error) || error.code !== 'NoSuchUpload') throw error;
    // It was done before, and its answer lost.
    const { headers } = await client.send({ method: 'HEAD', key, signal });
    if (Number(headers.get('content-length')) !== bytes) throw error;
  }
}
