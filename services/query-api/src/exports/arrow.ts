import {
  bool,
  type DataType,
  float64,
  int64,
  tableFromArrays,
  tableToIPC,
  timestamp,
  TimeUnit,
  utf8,
} from '@uwdata/flechette';
import type { Cell, Column, Encoder, Table, Write } from './table.ts';

const batchRowsMax = 10_000;
const batchCellsMax = 200_000;
const batchTextCharactersMax = 4 * 1024 * 1024;

const typeOf: Record<Column['type'], () => DataType> = {
  text: utf8,
  json: utf8,
  time: () => timestamp(TimeUnit.MILLISECOND, 'UTC'),
  integer: int64,
  number: float64,
  boolean: bool,
};

/** Where the message of the schema ends: it has no body. */
const prefixBytes = 8;
const endOfStreamBytes = 8;

/** The IPC stream format: schema, batches, and the end-of-stream marker, which a stream that was cut does not have. */
export function arrowEncoder<Row>({ columns, cellsOf }: Table<Row>, write: Write): Encoder<Row> {
  const types = Object.fromEntries(columns.map(({ name, type }) => [name, typeOf[type]()]));
  const empty = (): Cell[][] => columns.map(() => []);
  // Each batch is made as a stream of its own, of which only the batch is written.
  const streamOf = (batch: readonly Cell[][]): Uint8Array => {
    const table = tableFromArrays(
      columns.map(({ name }, index): [string, unknown[]] => [name, batch[index]!]),
      { types },
    );
    return tableToIPC(table, { format: 'stream' })!;
  };
  const schemaBytesOf = (stream: Uint8Array): number =>
    prefixBytes + new DataView(stream.buffer, stream.byteOffset).getInt32(4, true);
  const batchRows = Math.max(1, Math.min(batchRowsMax, Math.floor(batchCellsMax / columns.length)));
  const schema = streamOf(empty());
  let batch = empty();
  let rowsInBatch = 0;
  let textCharacters = 0;
  write(schema.slice(0, schemaBytesOf(schema)));
  const flush = (): void => {
    if (rowsInBatch === 0) return;
    const stream = streamOf(batch);
    write(stream.subarray(schemaBytesOf(stream), stream.length - endOfStreamBytes));
    batch = empty();
    rowsInBatch = 0;
    textCharacters = 0;
  };
  return {
    add: (row) => {
      for (const cells of cellsOf(row)) {
        for (const [index, { type }] of columns.entries()) {
          const value = arrowValue(type, cells[index]);
          if (typeof value === 'string') textCharacters += value.length;
          batch[index]!.push(value);
        }
        rowsInBatch += 1;
        if (rowsInBatch >= batchRows || textCharacters >= batchTextCharactersMax) flush();
      }
    },
    end: () => {
      flush();
      write(schema.slice(schema.length - endOfStreamBytes));
    },
  };
}

function arrowValue(type: Column['type'], value: Cell): unknown {
  if (value === undefined || value === null) return null;
  return type === 'json' ? JSON.stringify(value) : value;
}
