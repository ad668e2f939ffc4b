import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { type Info, parse } from 'csv-parse';

/** A data line: `line` is its line number in the file; the header is line 1. */
export interface CsvReading {
  readonly line: number;
  readonly ts: number;
  readonly metrics: Readonly<Record<string, number>>;
}

export interface CsvOptions {
  /** Name of the metric in a column called `value`. */
  readonly metric: string;
  readonly onBadLine: (line: number, reason: string) => void;
}

/** The file is not a table of timestamps and numbers. */
class CsvFileError extends Error {
  constructor(path: string, reason: string) {
    super(`${path}: ${reason}`);
    this.name = 'CsvFileError';
  }
}

const recordCharactersMax = 64 * 1024;

/**
 * Streams a CSV file (RFC 4180) with a header: the first column is the time, the others are numeric metrics named by the header. An empty
 * cell omits its metric. Invalid lines are reported and skipped.
 * @throws CsvFileError when the header is invalid
 */
export async function* readCsv(path: string, { metric, onBadLine }: CsvOptions): AsyncGenerator<CsvReading> {
  const parser = parse({
    bom: true,
    info: true,
    trim: true,
    skip_empty_lines: true,
    relax_column_count: true,
    skip_records_with_error: true,
    max_record_size: recordCharactersMax,
    on_skip: (error) => {
      onBadLine(Number(error?.['lines'] ?? 0), error?.message ?? 'unreadable');
      return undefined;
    },
  });
  const source = createReadStream(path);
  const reading = pipeline(source, parser);
  // The loop below throws the same error.
  reading.catch(() => undefined);

  let names: readonly string[] | undefined;
  for await (const { record, info } of parser as AsyncIterable<{ record: string[]; info: Info }>) {
    if (names === undefined) {
      names = metricNames(path, record, metric);
      continue;
    }
    const parsed = parseRecord(record, names);
    if (typeof parsed === 'string') onBadLine(info.lines, parsed);
    else yield { line: info.lines, ...parsed };
  }
  await reading;
}

/** A hash of the content: the same file is the same boot of its device. */
export async function csvEpoch(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return `csv-${hash.digest('hex').slice(0, 16)}`;
}

function metricNames(path: string, header: readonly string[], metric: string): readonly string[] {
  const names = header.slice(1).map((name) => (name === 'value' ? metric : name));
  if (names.length === 0)
    throw new CsvFileError(path, 'needs a header with a time column and at least one metric column');
  if (parseTime(header[0] ?? '') !== undefined) throw new CsvFileError(path, 'needs a header; its first line is data');
  if (names.includes('')) throw new CsvFileError(path, 'has a column without a name');
  if (new Set(names).size !== names.length) throw new CsvFileError(path, 'has two columns of the same name');
  return names;
}

function parseRecord(
  record: readonly string[],
  names: readonly string[],
): { ts: number; metrics: Record<string, number> } | string {
  const [time = '', ...cells] = record;
  if (cells.length !== names.length) return `has ${record.length} columns, the header has ${names.length + 1}`;
  const ts = parseTime(time);
  if (ts === undefined) return `"${time}" is not a time`;
  const metrics: Record<string, number> = {};
  for (const [column, name] of names.entries()) {
    const cell = cells[column] ?? '';
    if (cell === '') continue;
    const value = Number(cell);
    if (!Number.isFinite(value)) return `"${cell}" in column ${name} is not a number`;
    metrics[name] = value;
  }
  return Object.keys(metrics).length === 0 ? 'has no values' : { ts, metrics };
}

/** Epoch milliseconds, or a date and time, in UTC unless it has an offset. */
function parseTime(text: string): number | undefined {
  if (/^\d{11,14}$/.test(text)) return Number(text);
  const match = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)(Z|[+-]\d{2}:\d{2})?$/.exec(text);
  const ts = match === null ? Number.NaN : Date.parse(`${match[1]}T${match[2]}${match[3] ?? 'Z'}`);
  return Number.isNaN(ts) ? undefined : ts;
}
