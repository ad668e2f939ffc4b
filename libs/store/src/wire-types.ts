import pg from 'pg';

const { INT8, TIMESTAMPTZ } = pg.types.builtins;
const float8Array = 1022;

/**
 * How values come back from Postgres: `int8` as a number (ours stay below 2^53), `timestamptz` as epoch milliseconds,
 * `float8[]` as numbers. All else as pg has it.
 */
export const wireTypes: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') => {
    if (format !== 'binary') {
      if (oid === INT8) return Number;
      if (oid === TIMESTAMPTZ) return epochMs;
      if (oid === float8Array) return numbers;
    }
    return pg.types.getTypeParser(oid, format);
  }) as pg.CustomTypesConfig['getTypeParser'],
};

/** `2026-11-21 02:02:54.123+00`: the sessions are set to UTC and ISO. */
function epochMs(text: string): number {
  return Date.parse(`${text.slice(0, 10)}T${text.slice(11, -3)}Z`);
}

/** `{1,2.5,-0}`: one dimension, no nulls. */
function numbers(text: string): number[] {
  return text === '{}' ? [] : text.slice(1, -1).split(',').map(Number);
}
