import { EventEmitter, once } from 'node:events';
import type { Cell, Column, Table } from './table.ts';

/** The answer to a question with `layout=rows`; it is bounded, and in memory already. */
export interface SeriesRows {
  readonly rows: readonly object[];
  readonly covers: { readonly completeUntil: string | null };
}

type Flat = Readonly<Record<string, Cell>>;

export function seriesTable({ rows, covers: { completeUntil } }: SeriesRows): Table<object> {
  const columns = columnsOf(rows.map(flattened));
  const flow = new EventEmitter();
  let isPaused = false;
  let failure: Error | undefined;
  return {
    name: 'series',
    columns,
    cellsOf: (row) => {
      const flat = flattened(row);
      return [columns.map(({ name }) => flat[name])];
    },
    documentOf: (row) => row,
    completeUntil: completeUntil === null ? null : Date.parse(completeUntil),
    read: async (take) => {
      for (const row of rows) {
        if (isPaused) await once(flow, 'resumed');
        if (failure !== undefined) throw failure;
        take(row);
      }
    },
    pause: () => {
      isPaused = true;
    },
    resume: () => {
      isPaused = false;
      flow.emit('resumed');
    },
    close: (reason) => {
      failure = reason;
      flow.emit('resumed');
    },
  };
}

/** `group: { site: 'north' }` becomes `group.site`, as `before` does; the time becomes epoch milliseconds. */
function flattened(row: object): Flat {
  const { t, group, before, ...values } = row as { t: string; group?: Flat; before?: Flat };
  return { t: Date.parse(t), ...prefixed('group', group), ...values, ...prefixed('before', before) };
}

function prefixed(name: string, values: Flat = {}): Flat {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [`${name}.${key}`, value]));
}

function columnsOf(rows: readonly Flat[]): Column[] {
  const types = new Map<string, Set<string>>([['t', new Set()]]);
  for (const row of rows) {
    for (const [name, value] of Object.entries(row)) {
      if (!types.has(name)) types.set(name, new Set());
      if (value !== null && value !== undefined) types.get(name)!.add(typeof value);
    }
  }
  return [...types].map(([name, found]) => ({ name, type: name === 't' ? 'time' : columnType(found) }));
}

function columnType(found: ReadonlySet<string>): Column['type'] {
  if (found.size > 1 || found.has('object')) return 'json';
  if (found.has('string')) return 'text';
  return found.has('boolean') ? 'boolean' : 'number';
}
