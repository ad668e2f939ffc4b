import Type from 'typebox';
import { arrowEncoder } from './arrow.ts';
import { parquetEncoder } from './parquet.ts';
import type { Encoder, Table, Write } from './table.ts';
import { csvEncoder, jsonEncoder, ndjsonEncoder } from './text-formats.ts';

export interface Format {
  readonly name: FormatName;
  readonly mediaType: string;
  /** What `Content-Type` says; the media type if undefined. */
  readonly contentType?: string;
  readonly extension: string;
  /** Rows are cells of columns that are known before the first row; otherwise objects. */
  readonly hasColumns: boolean;
  /** Each column has one type. */
  readonly hasTypes: boolean;
  /** It is compressed already. */
  readonly isCompressed: boolean;
  readonly encoder: <Row>(table: Table<Row>, write: Write) => Encoder<Row>;
}

const formatNames = ['csv', 'ndjson', 'json', 'parquet', 'arrow'] as const;
export type FormatName = (typeof formatNames)[number];

const formats: Readonly<Record<FormatName, Format>> = {
  csv: {
    name: 'csv',
    mediaType: 'text/csv',
    contentType: 'text/csv; charset=utf-8; header=present',
    extension: 'csv',
    hasColumns: true,
    hasTypes: false,
    isCompressed: false,
    encoder: csvEncoder,
  },
  ndjson: {
    name: 'ndjson',
    mediaType: 'application/x-ndjson',
    extension: 'ndjson',
    hasColumns: false,
    hasTypes: false,
    isCompressed: false,
    encoder: ndjsonEncoder,
  },
  json: {
    name: 'json',
    mediaType: 'application/json',
    extension: 'json',
    hasColumns: false,
    hasTypes: false,
    isCompressed: false,
    encoder: jsonEncoder,
  },
  parquet: {
    name: 'parquet',
    mediaType: 'application/vnd.apache.parquet',
    extension: 'parquet',
    hasColumns: true,
    hasTypes: true,
    isCompressed: true,
    encoder: parquetEncoder,
  },
  arrow: {
    name: 'arrow',
    mediaType: 'application/vnd.apache.arrow.stream',
    extension: 'arrows',
    hasColumns: true,
    hasTypes: true,
    isCompressed: false,
    encoder: arrowEncoder,
  },
};

export const FormatParameter = Type.Enum([...formatNames], {
  description: 'A stream of the whole answer in this format (docs/exports.md); it goes before `Accept`',
});

export const exportFormats: readonly Format[] = Object.values(formats);

/** Not of application/json, which programs send without meaning a stream. */
const byMediaType = new Map(
  exportFormats.filter(({ name }) => name !== 'json').map((format) => [format.mediaType, format]),
);

/** The stream that a call wants; undefined where it wants none. */
export function formatOf(format: FormatName | undefined, accept: string | undefined): Format | undefined {
  if (format !== undefined) return formats[format];
  const types = (accept ?? '').split(',').map((range) => range.split(';', 1)[0]!.trim().toLowerCase());
  return types.map((type) => byMediaType.get(type)).find((found) => found !== undefined);
}
