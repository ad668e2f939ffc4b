import { type CsvRecord, parseTime } from './csv-file.ts';

/** A reading of the file, with the line on which it stands. */
export interface CsvReading {
  readonly line: number;
  readonly deviceId: string | undefined;
  readonly epoch: string | undefined;
  readonly seq: number | undefined;
  readonly ts: number;
  readonly metrics: Record<string, unknown>;
}

/** Columns of an export that are no metrics; `receivedAt` is of the installation that it comes from. */
const timeNames = ['ts', 't', 'time', 'timestamp'];
const identityNames = ['deviceId', 'ts', 'epoch', 'seq', 'receivedAt'];
const longNames = ['metric', 'value', 'text'];
/** The header of an export in the long layout. One in the wide layout never has these columns in this order. */
const longHeader = [...identityNames, ...longNames].join();

/** `wide`: a column for each metric; `long`: a row for each value, with the columns metric, value and text. */
export const layouts = ['wide', 'long'] as const;
export type Layout = (typeof layouts)[number];
const jsonNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** Where the columns of a file stand, by its header. */
export class CsvColumns {
  readonly hasDevice: boolean;
  /** Readings have their own epoch and number. */
  readonly hasIdentity: boolean;
  readonly #time: number;
  readonly #places: ReadonlyMap<string, number>;
  readonly #metrics: readonly { readonly name: string; readonly place: number }[];
  readonly #isLong: boolean;

  /**
   * @param layout by the header if undefined: `long` is that of an export, everything else `wide`
   * @throws {Error} the header is not that of a table of readings
   */
  constructor(header: readonly (string | undefined)[], layout?: Layout) {
    const names = header.map((name, place) => name || `column ${place + 1}`);
    if (new Set(names).size !== names.length) throw new Error('the header has two columns of the same name');
    const time = timeNames.map((name) => names.indexOf(name)).find((place) => place >= 0) ?? 0;
    if (parseTime(names[time]!) !== undefined) throw new Error('the first line is data; a header is required');
    this.#time = time;
    this.#places = new Map(names.map((name, place) => [name, place]));
    const others = names.flatMap((name, place) =>
      place === time || identityNames.includes(name) ? [] : [{ name: metricName(name), place }],
    );
    if (others.length === 0) throw new Error('the header has no column of a metric');
    this.#isLong = layout === undefined ? names.join() === longHeader : layout === 'long';
    const stray = this.#isLong ? others.find(({ name }) => !longNames.includes(name)) : undefined;
    if (stray !== undefined || (this.#isLong && !this.#places.has('metric')))
      throw new Error(`the long layout has the columns ${longNames.join(', ')}; the header has ${names.join(', ')}`);
    this.#metrics = others;
    this.hasDevice = this.#places.has('deviceId');
    this.hasIdentity = this.#places.has('epoch') && this.#places.has('seq');
  }

  /** @returns undefined where the row has no value; a text says what is wrong with it */
  read({ cells, line }: CsvRecord): CsvReading | string | undefined {
    if (cells.length !== this.#places.size) return `has ${cells.length} cells; the header has ${this.#places.size}`;
    const ts = parseTime(cells[this.#time]?.trim() ?? '');
    if (ts === undefined) return `${JSON.stringify(cells[this.#time] ?? '')} is not a time`;
    const cell = (name: string): string | undefined => cells[this.#places.get(name) ?? -1];
    const seqText = this.hasIdentity ? cell('seq') : undefined;
    const seq = seqText === undefined ? undefined : Number(seqText);
    if (seq !== undefined && !Number.isSafeInteger(seq)) return `${JSON.stringify(seqText)} is not a sequence number`;
    const metrics = this.#isLong ? longMetrics(longNames.map(cell)) : this.#wide(cells);
    if (Object.keys(metrics).length === 0) return undefined;
    return { line, ts, seq, metrics, deviceId: cell('deviceId'), epoch: this.hasIdentity ? cell('epoch') : undefined };
  }

  #wide(cells: CsvRecord['cells']): Record<string, unknown> {
    const metrics: Record<string, unknown> = {};
    for (const { name, place } of this.#metrics) {
      const text = cells[place];
      if (text !== undefined) metrics[name] = valueOf(text);
    }
    return metrics;
  }

  /** Rows of the long layout that follow one another are one reading. */
  continues(before: CsvReading, next: CsvReading): boolean {
    const isSame = before.deviceId === next.deviceId && before.epoch === next.epoch && before.seq === next.seq;
    return this.#isLong && this.hasIdentity && isSame;
  }
}

function longMetrics([metric, value, text]: readonly (string | undefined)[]): Record<string, unknown> {
  if (metric === undefined) return {};
  return { [metric]: value === undefined ? valueOf(text ?? '') : Number(value) };
}

/** `metrics.ts` is the metric `ts`: an export calls it so beside the time. */
function metricName(column: string): string {
  const name = column.startsWith('metrics.') ? column.slice('metrics.'.length) : column;
  return identityNames.includes(name.replace(/^(?:metrics\.)*/, '')) ? name : column;
}

/** A number, true, false or a JSON object; everything else is text. */
function valueOf(text: string): unknown {
  const trimmed = text.trim();
  if (jsonNumber.test(trimmed)) return Number(trimmed);
  if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true';
  if (!trimmed.startsWith('{')) return text;
  try {
    return JSON.parse(trimmed);
  } catch {
    return text;
  }
}
