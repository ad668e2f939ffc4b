import { notFound, unprocessable } from '@fleetwire/runtime/problem';
import type { Database } from '@fleetwire/store/database';
import {
  type ExportedMetric,
  type ExportedReading,
  type ExportQuery,
  openExportedReadings,
} from '@fleetwire/store/exports/exported-readings';
import { isoTime } from '../time-range.ts';
import type { Format } from './formats.ts';
import type { Cell, Column, Table } from './table.ts';

export const layouts = ['wide', 'long'] as const;

export interface ReadingsExport extends ExportQuery {
  /** `wide`: a column for each metric; `long`: a row for each value. Only of formats with columns. */
  readonly layout: (typeof layouts)[number];
  /** 404 where it does not exist. */
  readonly onlyDevice?: string | undefined;
}

const exportColumnsMax = 2_000;

const identity: readonly Column[] = [
  { name: 'deviceId', type: 'text' },
  { name: 'ts', type: 'time' },
  { name: 'epoch', type: 'text' },
  { name: 'seq', type: 'integer' },
  { name: 'receivedAt', type: 'time' },
];
const valueColumns: readonly Column[] = [
  { name: 'metric', type: 'text' },
  { name: 'value', type: 'number' },
  { name: 'text', type: 'text' },
];

/** Opens a snapshot and finds the columns. @throws {Problem} */
export async function openReadingsTable(
  database: Database,
  { format, signal, ...wanted }: ReadingsExport & { readonly format: Format; readonly signal: AbortSignal },
): Promise<Table<ExportedReading>> {
  const { layout, onlyDevice } = wanted;
  const readings = await openExportedReadings(database, { ...wanted, signal });
  try {
    if (onlyDevice !== undefined && readings.devices === 0) throw notFound(`Device ${onlyDevice} is unknown`);
    const isWide = format.hasColumns && layout === 'wide';
    const { metrics, rowsMax } = isWide ? await metricColumns() : { metrics: [] };
    return {
      name: onlyDevice ?? 'readings',
      columns: isWide ? [...identity, ...metrics] : [...identity, ...valueColumns],
      cellsOf: isWide ? wideCells(metrics.map(({ metric }) => metric)) : longCells,
      documentOf,
      estimatedRows: format.hasColumns && !isWide ? undefined : readings.estimatedReadings,
      rowsMax,
      completeUntil: readings.completeness.completeUntil,
      read: (take) => readings.read(take),
      pause: () => readings.pause(),
      resume: () => readings.resume(),
      close: (reason) => readings.close(reason),
    };
  } catch (error) {
    readings.close(error as Error);
    signal.throwIfAborted();
    throw error;
  }

  async function metricColumns(): Promise<{ metrics: (Column & { metric: string })[]; rowsMax?: number }> {
    const isNamed = wanted.metrics !== undefined && !format.hasTypes;
    const counted = isNamed ? undefined : await readings.findMetrics();
    const found = counted?.metrics ?? [];
    const names = unmistakable(wanted.metrics ?? found.map(({ name }) => name));
    if (names.length > exportColumnsMax)
      throw unprocessable('The export has too many columns', [
        {
          field: 'query.metrics',
          detail: `is not given, and the readings have ${names.length} metrics; at most ${exportColumnsMax} (EXPORT_COLUMNS_MAX): name those that are wanted, or use layout=long or format=ndjson`,
        },
      ]);
    const types = new Map(found.map(({ name, type }) => [name, type]));
    const metrics = names.map((metric) => ({
      metric,
      name: columnName(metric),
      type: columnTypes[types.get(metric) ?? 'number'],
    }));
    return { metrics, ...(counted !== undefined && { rowsMax: counted.readings }) };
  }
}

const valueNames = valueColumns.map(({ name }) => name).join();

/** Metrics of these names, in this order, would be a header like that of the long layout, by which an import tells them apart. */
function unmistakable(names: readonly string[]): readonly string[] {
  return names.join() === valueNames ? names.toSorted() : names;
}

const columnTypes = { number: 'number', boolean: 'boolean', text: 'text', mixed: 'json' } as const satisfies Record<
  ExportedMetric['type'],
  Column['type']
>;

const identityNames: ReadonlySet<string> = new Set(identity.map(({ name }) => name));

/** A metric `ts` is the column `metrics.ts`, and a metric `metrics.ts` the column `metrics.metrics.ts`, so that the import finds both again. */
function columnName(metric: string): string {
  return identityNames.has(metric.replace(/^(?:metrics\.)+/, '')) ? `metrics.${metric}` : metric;
}

function wideCells(metrics: readonly string[]): Table<ExportedReading>['cellsOf'] {
  const cells: Cell[] = Array.from({ length: identity.length + metrics.length });
  const row = [cells];
  return ({ deviceId, ts, epoch, seq, receivedAt, metrics: values }) => {
    cells[0] = deviceId;
    cells[1] = ts;
    cells[2] = epoch;
    cells[3] = seq;
    cells[4] = receivedAt;
    for (let index = 0; index < metrics.length; index += 1) {
      const value = values[metrics[index]!];
      // Of a metric `toString` that this reading lacks: the method of all objects.
      cells[identity.length + index] = typeof value === 'function' ? undefined : value;
    }
    return row;
  };
}

function longCells({ deviceId, ts, epoch, seq, receivedAt, metrics }: ExportedReading): Cell[][] {
  return Object.entries(metrics).map(([metric, value]) => [
    deviceId,
    ts,
    epoch,
    seq,
    receivedAt,
    metric,
    ...(typeof value === 'number'
      ? [value, undefined]
      : [undefined, typeof value === 'string' ? value : JSON.stringify(value)]),
  ]);
}

function documentOf({ deviceId, ts, epoch, seq, receivedAt, metrics }: ExportedReading): object {
  return { deviceId, ts: isoTime(ts), epoch, seq, receivedAt: isoTime(receivedAt), metrics };
}
