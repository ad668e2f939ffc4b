import { type ReadonlySignal, signal } from '@preact/signals';
import { ApiProblem, failureOf } from '../../api.ts';

export type Format = 'csv' | 'parquet' | 'arrow' | 'ndjson';

export const formats: readonly { readonly format: Format; readonly label: string }[] = [
  { format: 'csv', label: 'CSV' },
  { format: 'parquet', label: 'Parquet' },
  { format: 'arrow', label: 'Arrow' },
  { format: 'ndjson', label: 'NDJSON' },
];

/** An export as it comes: what was received, and the file once it is complete. */
interface ExportState {
  readonly kind: 'running' | 'ready' | 'failed' | 'cancelled';
  readonly bytes: number;
  /** Of formats with a row a line. */
  readonly rows: number | undefined;
  readonly estimatedRows: number | undefined;
  readonly beganAt: number;
  readonly endedAt?: number;
  readonly file?: Blob;
  readonly why?: string;
}

export interface Export {
  readonly name: string;
  readonly format: Format;
  readonly state: ReadonlySignal<ExportState>;
  readonly cancel: () => void;
}

/** How often the progress is written. */
const writeMs = 200;
const newline = 10;

/**
 * Reads an export to its end. The server cuts an answer that is not complete, and `fetch` rejects then: a file is offered only when all of
 * it came.
 */
export function startExport({
  url,
  name,
  format,
}: {
  readonly url: string;
  readonly name: string;
  readonly format: Format;
}): Export {
  const beganAt = Date.now();
  const state = signal<ExportState>({ kind: 'running', bytes: 0, rows: undefined, estimatedRows: undefined, beganAt });
  const call = new AbortController();

  async function run(): Promise<void> {
    const response = await fetch(url, { signal: call.signal });
    if (!response.ok) throw new ApiProblem(response.status, (await response.json()) as ApiProblem['problem']);
    const estimated = Number(response.headers.get('x-fleetwire-estimated-rows') ?? Number.NaN);
    const estimatedRows = Number.isNaN(estimated) ? undefined : estimated;
    const type = response.headers.get('content-type') ?? 'application/octet-stream';
    const parts: BlobPart[] = [];
    const hasLines = format === 'csv' || format === 'ndjson';
    let bytes = 0;
    let lines = 0;
    let writtenAt = 0;
    const reader = response.body!.getReader();
    const rows = () => (hasLines ? Math.max(0, lines - 1) : undefined);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      bytes += value.length;
      if (hasLines) for (const byte of value) if (byte === newline) lines += 1;
      if (Date.now() - writtenAt < writeMs) continue;
      writtenAt = Date.now();
      state.value = { kind: 'running', bytes, rows: rows(), estimatedRows, beganAt };
    }
    const file = new Blob(parts, { type });
    state.value = { kind: 'ready', bytes, rows: rows(), estimatedRows, beganAt, endedAt: Date.now(), file };
  }

  void run().catch((error: unknown) => {
    const isCut = !(error instanceof ApiProblem);
    const failure = failureOf(error);
    state.value = {
      ...state.peek(),
      endedAt: Date.now(),
      ...(call.signal.aborted
        ? { kind: 'cancelled' as const }
        : {
            kind: 'failed' as const,
            why: isCut
              ? 'The server cut it: it is not complete, and nothing is kept of it.'
              : `${failure.title}. ${failure.detail}`,
          }),
    };
  });
  return { name, format, state, cancel: () => call.abort() };
}

/** Gives the viewer the file of an export. */
export function saveFile(file: Blob, name: string): void {
  const address = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
