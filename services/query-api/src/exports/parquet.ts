import { constants, zstdCompressSync } from 'node:zlib';
import { type Problem, unprocessable } from '@fleetwire/runtime/problem';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { isoTime } from '../time-range.ts';
import type { Cell, Column, Encoder, Table, Write } from './table.ts';

/** A group is encoded in one go, while the service answers nothing else: about 50 ms. */
const groupRowsMax = 10_000;
const groupCellsMax = 200_000;
const groupTextCharactersMax = 4 * 1024 * 1024;
/** Columns of all groups together: the footer, which comes last, has an entry for each, of 600 to 800 bytes in memory. */
const columnChunksMax = 50_000;
const compression = { params: { [constants.ZSTD_c_compressionLevel]: 3 } };

const schemaOf: Record<Column['type'], object> = {
  text: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
  json: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
  time: {
    type: 'INT64',
    converted_type: 'TIMESTAMP_MILLIS',
    logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MILLIS' },
  },
  integer: { type: 'INT64' },
  number: { type: 'DOUBLE' },
  boolean: { type: 'BOOLEAN' },
};

/**
 * Groups of rows, compressed with zstd. A file without its footer, which comes last, is no Parquet file.
 * @throws {Problem} the export has too many columns for its rows
 */
export function parquetEncoder<Row>(
  { columns, cellsOf, completeUntil, rowsMax = 0 }: Table<Row>,
  write: Write,
): Encoder<Row> {
  const writer = new ByteWriter();
  const kvMetadata: { key: string; value: string }[] = [];
  const parquet = new ParquetWriter({
    writer,
    codec: 'ZSTD',
    compressors: { ZSTD: (bytes) => zstdCompressSync(bytes, compression) },
    schema: [
      { name: 'root', num_children: columns.length },
      ...columns.map(({ name, type }) => ({ name, repetition_type: 'OPTIONAL' as const, ...schemaOf[type] })),
    ],
    kvMetadata,
  });
  const groupRows = Math.max(1, Math.min(groupRowsMax, Math.floor(groupCellsMax / columns.length)));
  const groupsMax = Math.floor(columnChunksMax / columns.length);
  if (rowsMax > groupsMax * groupRows) throw tooManyColumnChunks(columns.length);
  let groups = 0;
  let group: Cell[][] = columns.map(() => []);
  let rowsInGroup = 0;
  let textCharacters = 0;
  const flush = (): void => {
    if (rowsInGroup > 0) {
      groups += 1;
      if (groups > groupsMax) throw tooManyColumnChunks(columns.length);
      const columnData = columns.map(({ name }, index) => ({ name, data: group[index]! }));
      void parquet.write({ columnData, rowGroupSize: rowsInGroup });
      group = columns.map(() => []);
      rowsInGroup = 0;
      textCharacters = 0;
    }
    write(writer.getBytes().slice());
    writer.index = 0;
  };
  return {
    add: (row) => {
      for (const cells of cellsOf(row)) {
        for (const [index, { type }] of columns.entries()) {
          const value = parquetValue(type, cells[index]);
          if (typeof value === 'string') textCharacters += value.length;
          group[index]!.push(value);
        }
        rowsInGroup += 1;
        if (rowsInGroup >= groupRows || textCharacters >= groupTextCharactersMax) flush();
      }
    },
    end: (rows) => {
      kvMetadata.push({ key: 'fleetwire.count', value: String(rows) });
      if (completeUntil !== null) kvMetadata.push({ key: 'fleetwire.completeUntil', value: isoTime(completeUntil) });
      flush();
      void parquet.finish();
      write(writer.getBytes().slice());
    },
  };
}

function tooManyColumnChunks(columns: number): Problem {
  return unprocessable('The export is too large for one Parquet file', [
    {
      field: 'query.format',
      detail: `is parquet, and ${columns} columns in groups of rows would be more than ${columnChunksMax} column chunks (PARQUET_COLUMN_CHUNKS_MAX): use layout=long, format=csv or arrow, a shorter time range, or name the metrics that are wanted`,
    },
  ]);
}

function parquetValue(type: Column['type'], value: Cell): unknown {
  if (value === undefined || value === null) return undefined;
  if (type === 'time' || type === 'integer') return BigInt(value as number);
  return type === 'json' ? JSON.stringify(value) : value;
}
