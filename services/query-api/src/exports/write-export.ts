import type { Writable } from 'node:stream';
import type { Format } from './formats.ts';
import type { Table } from './table.ts';

export interface Written {
  readonly rows: number;
  readonly bytes: number;
}

interface WriteOptions {
  /** Before the first bytes; until then nothing can be seen of the export. */
  readonly onFirstBytes?: () => void;
  readonly onProgress?: (written: Written) => void;
  readonly signal: AbortSignal;
}

/** `out` was closed, or its reader took nothing for too long. */
export class ReaderGoneError extends Error {
  override readonly name = 'ReaderGoneError';
}

/** Writes all rows of the table to `out`, no faster than it takes them, and closes the table. It does not end `out`. */
export async function writeExport<Row>(
  out: Writable,
  format: Format,
  table: Table<Row>,
  { onFirstBytes, onProgress, signal }: WriteOptions,
): Promise<Written> {
  let rows = 0;
  let bytes = 0;
  let isPaused = false;
  let failure: Error | undefined;
  const fail = (error: Error): void => {
    failure ??= error;
    table.close(failure);
  };
  const onClose = (): void => fail(new ReaderGoneError('the reader has gone'));
  const onAbort = (): void => fail(signal.reason as Error);
  const onDrain = (): void => {
    isPaused = false;
    table.resume();
  };
  const write = (chunk: Uint8Array): void => {
    if (bytes === 0) onFirstBytes?.();
    bytes += chunk.length;
    onProgress?.({ rows, bytes });
    if (out.write(chunk) || isPaused) return;
    isPaused = true;
    table.pause();
  };
  out.on('drain', onDrain);
  out.on('close', onClose);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    const encoder = format.encoder(table, write);
    await table.read((row) => {
      if (failure !== undefined) return;
      encoder.add(row);
      rows += 1;
    });
    if (failure !== undefined) throw failure;
    encoder.end(rows);
    return { rows, bytes };
  } catch (error) {
    fail(error as Error);
    throw failure ?? error;
  } finally {
    out.off('drain', onDrain);
    out.off('close', onClose);
    signal.removeEventListener('abort', onAbort);
  }
}
