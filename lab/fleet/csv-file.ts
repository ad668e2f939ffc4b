import { parseTime, readCsvRecords } from '@fleetwire/cli/transfer/csv-file';

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

/**
 * Streams a CSV file (RFC 4180) with a header: the first column is the time, the others are numeric metrics named by the header. An empty
 * cell omits its metric. Invalid lines are reported and skipped.
 * @throws CsvFileError when the header is invalid
 */
export async function* readCsv(path: string, { metric, onBadLine }: CsvOptions): AsyncGenerator<CsvReading> {
  let names: readonly string[] | undefined;
  for await (const { cells, line } of readCsvRecords(path, { onBadLine })) {
    const record = cells.map((cell) => cell?.trim() ?? '');
    if (names === undefined) {
      names = metricNames(path, record, metric);
      continue;
    }
    const parsed = parseRecord(record, names);
    if (typeof parsed === 'string') onBadLine(line, parsed);
    else yield { line, ...parsed };
  }
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
