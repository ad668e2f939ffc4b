/**
 * Arrays in Postgres' binary format (array_send in src/backend/utils/adt/arrayfuncs.c): a header of dimensions, a flag for
 * nulls, the element type, length and lower bound; then each element as its length in bytes and its bytes. Numbers need no conversion
 * to text and back, and are exact.
 */
const headerBytes = 20;
const oid = { int2: 21, int4: 23, int8: 20, float8: 701, timestamptz: 1184, text: 25 } as const;

/** Postgres counts microseconds from 2000-01-01. */
const postgresEpochMs = Date.UTC(2000, 0, 1);

export const int2Array = fixed(oid.int2, 2, (buffer, value, at) => buffer.writeInt16BE(value, at));
export const int4Array = fixed(oid.int4, 4, (buffer, value, at) => buffer.writeInt32BE(value, at));
export const int8Array = fixed(oid.int8, 8, writeInt64);
export const float8Array = fixed(oid.float8, 8, (buffer, value, at) => buffer.writeDoubleBE(value, at));

/** From epoch milliseconds between 1715 and 2285, where microseconds are exact. */
export const timestamptzArray = fixed(oid.timestamptz, 8, (buffer, value, at) =>
  writeInt64(buffer, (value - postgresEpochMs) * 1_000, at),
);

export function textArray(values: readonly (string | null)[]): Buffer {
  let bytes = headerBytes + values.length * 4;
  let nulls = false;
  for (const value of values) {
    if (value === null) nulls = true;
    else bytes += Buffer.byteLength(value);
  }
  const buffer = header(oid.text, values.length, bytes, nulls);
  let at = headerBytes;
  for (const value of values) {
    const length = value === null ? -1 : buffer.write(value, at + 4);
    buffer.writeInt32BE(length, at);
    at += 4 + Math.max(0, length);
  }
  return buffer;
}

/** The elements of a float8 array of one dimension. */
export function readFloat8Array(buffer: Buffer): (number | null)[] {
  const values: (number | null)[] = [];
  if (buffer.readInt32BE(0) === 0) return values;
  const count = buffer.readInt32BE(12);
  for (let at = headerBytes; values.length < count;) {
    const isNull = buffer.readInt32BE(at) < 0;
    values.push(isNull ? null : buffer.readDoubleBE(at + 4));
    at += isNull ? 4 : 12;
  }
  return values;
}

type Write = (buffer: Buffer, value: number, at: number) => void;

function fixed(elementType: number, elementBytes: number, write: Write): (values: ArrayLike<number>) => Buffer {
  return (values) => {
    const buffer = header(elementType, values.length, headerBytes + values.length * (4 + elementBytes), false);
    let at = headerBytes;
    for (let index = 0; index < values.length; index++) {
      buffer.writeInt32BE(elementBytes, at);
      write(buffer, values[index] as number, at + 4);
      at += 4 + elementBytes;
    }
    return buffer;
  };
}

function header(elementType: number, length: number, bytes: number, nulls: boolean): Buffer {
  const buffer = Buffer.allocUnsafe(bytes);
  buffer.writeInt32BE(1, 0);
  buffer.writeInt32BE(nulls ? 1 : 0, 4);
  buffer.writeInt32BE(elementType, 8);
  buffer.writeInt32BE(length, 12);
  buffer.writeInt32BE(1, 16);
  return buffer;
}

/** Of a safe integer, without a BigInt for each. */
function writeInt64(buffer: Buffer, value: number, at: number): void {
  const high = Math.floor(value / 2 ** 32);
  buffer.writeInt32BE(high, at);
  buffer.writeUInt32BE(value - high * 2 ** 32, at + 4);
}
