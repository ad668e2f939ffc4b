import pg from 'pg';

/** By the type's number in Postgres' pg_type.dat. */
const textParsers = new Map<number, (text: string) => unknown>([
  [20, Number], // int8; ours stay below 2^53
  [1022, numbers], // float8[]
  [1184, epochMs], // timestamptz
]);

/**
 * How values come back from Postgres: `int8` as a number, `timestamptz` as epoch milliseconds, `float8[]` as numbers. Everything else as pg
 * parses it.
 */
export const wireTypes: pg.CustomTypesConfig = {
  getTypeParser: (type, format) =>
    (format === 'binary' ? undefined : textParsers.get(type)) ?? pg.types.getTypeParser(type, format),
};

/** `2026-11-21 02:02:54.123+00`: the sessions are set to UTC and ISO. */
function epochMs(text: string): number {
  return Date.parse(`${text.slice(0, 10)}T${text.slice(11, -3)}Z`);
}

/** `{1,2.5,-0,NULL}`: one dimension. Readings have no nulls. */
function numbers(text: string): (number | null)[] {
  if (text === '{}') return [];
  const values = text.slice(1, -1).split(',');
  return text.includes('NULL') ? values.map((value) => (value === 'NULL' ? null : Number(value))) : values.map(Number);
}
