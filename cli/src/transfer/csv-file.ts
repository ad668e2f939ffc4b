import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { type Info, parse } from 'csv-parse';

/** A record of a file; `line` is the number of its last line, and the header is line 1. An empty cell is undefined, a quoted one is `''`. */
export interface CsvRecord {
  readonly line: number;
  readonly cells: readonly (string | undefined)[];
}

interface ReadOptions {
  readonly onBadLine: (line: number, reason: string) => void;
  /** Bytes of the file that have been read. */
  readonly onBytes?: (bytes: number) => void;
}

const recordCharactersMax = 512 * 1024;

/** Streams the records of a CSV file (RFC 4180), the header among them. Records that cannot be read are reported and skipped. */
export async function* readCsvRecords(path: string, { onBadLine, onBytes }: ReadOptions): AsyncGenerator<CsvRecord> {
  const parser = parse({
    bom: true,
    info: true,
    trim: true,
    skip_empty_lines: true,
    relax_column_count: true,
    skip_records_with_error: true,
    max_record_size: recordCharactersMax,
    cast: (text, { quoting }) => (text === '' && !quoting ? undefined : text),
    on_skip: (error) => {
      onBadLine(Number(error?.['lines'] ?? 0), error?.message ?? 'unreadable');
      return undefined;
    },
  });
  const source = createReadStream(path);
  const reading = pipeline(source, parser);
  // The loop below throws the same error.
  reading.catch(() => undefined);
  for await (const { record, info } of parser as AsyncIterable<{ record: (string | undefined)[]; info: Info }>) {
    yield { line: info.lines, cells: record };
    onBytes?.(source.bytesRead);
  }
  await reading;
}

/** A hash of the content: the same file is the same boot of its device. */
export async function csvEpoch(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return `csv-${hash.digest('hex').slice(0, 16)}`;
}

/** Epoch milliseconds, or a date and time, in UTC unless it has an offset. */
export function parseTime(text: string): number | undefined {
  if (/^\d{11,14}$/.test(text)) return Number(text);
  const match = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)(Z|[+-]\d{2}:\d{2})?$/.exec(text);
  const ts = match === null ? Number.NaN : Date.parse(`${match[1]}T${match[2]}${match[3] ?? 'Z'}`);
  return Number.isNaN(ts) ? undefined : ts;
}
