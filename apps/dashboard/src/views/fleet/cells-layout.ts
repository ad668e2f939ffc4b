import { type DeviceRow, asName, tagValue } from './device-rows.ts';

/** Where the cell of each device is: a row for each group, in it a block for each type. */
export interface CellGroup {
  readonly value: string;
  readonly name: string;
  readonly total: number;
  readonly stale: number;
  readonly offline: number;
  readonly y: number;
  readonly cells: readonly Cell[];
}

export interface Cell {
  readonly x: number;
  readonly y: number;
  readonly row: DeviceRow;
}

export interface CellLayout {
  readonly groups: readonly CellGroup[];
  readonly types: readonly string[];
  readonly heightPx: number;
  /** Of one cell with the space after it. */
  readonly stepPx: number;
  readonly notesX: number;
}

/** Above it each device has no cell any more; shares of states are shown. */
export const cellsMax = 5_000;

const labelPx = 98;
const notesPx = 92;
const blockGapPx = 16;
const rowGapPx = 4.6;
const groupsMax = 12;
const stepPxMin = 3.5;
const stepPxMax = 13;
const depthMax = 12;

/**
 * Cells stand above each other; the widest group fills the width, and blocks of a type begin at the same place in all groups.
 * Groups that do not fit are one more, the last.
 */
export function layoutCells(rows: readonly DeviceRow[], groupKey: string | undefined, widthPx: number): CellLayout {
  const byGroup = new Map<string, DeviceRow[]>();
  for (const row of rows) {
    const value = groupKey === undefined ? row.type : tagValue(row.tags, groupKey);
    const members = byGroup.get(value);
    if (members === undefined) byGroup.set(value, [row]);
    else members.push(row);
  }
  const ordered = [...byGroup].toSorted((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1));
  const shown =
    ordered.length <= groupsMax
      ? ordered
      : [
          ...ordered.slice(0, groupsMax - 1),
          ['…', ordered.slice(groupsMax - 1).flatMap(([, members]) => members)] as [string, DeviceRow[]],
        ];
  const types =
    groupKey === undefined
      ? ['']
      : [...new Set(rows.map(({ type }) => type))].toSorted((a, b) => countOf(rows, b) - countOf(rows, a)).slice(0, 3);
  const typeOf = (row: DeviceRow) => Math.max(0, groupKey === undefined ? 0 : types.indexOf(row.type));
  const room = widthPx - labelPx - notesPx - blockGapPx * (types.length - 1);
  const sizes = shown.map(([, members]) => {
    const bySlot = types.map(() => 0);
    for (const row of members) bySlot[typeOf(row)]! += 1;
    return bySlot;
  });
  const widestAt = (depth: number) =>
    types.map((_type, at) => Math.max(1, ...sizes.map((bySlot) => Math.ceil(bySlot[at]! / depth))));
  const stepAt = (depth: number) => room / widestAt(depth).reduce((sum, one) => sum + one, 0);
  // Two above each other; more where the cells would be too small to be seen.
  let depth = 2;
  while (depth < depthMax && stepAt(depth) < stepPxMin) depth += 1;
  const widest = widestAt(depth);
  const stepPx = Math.min(stepPxMax, stepAt(depth));
  let x = labelPx;
  const starts = widest.map((cells) => {
    const start = x;
    x += cells * stepPx + blockGapPx;
    return start;
  });
  const pitch = depth * stepPx + rowGapPx;
  const groups = shown.map(([value, members], at): CellGroup => {
    const y = at * pitch;
    const next = types.map(() => 0);
    const cells = members
      .toSorted((a, b) => (a.deviceId < b.deviceId ? -1 : 1))
      .map((row): Cell => {
        const block = typeOf(row);
        const place = next[block]!;
        next[block] = place + 1;
        return { row, x: starts[block]! + Math.floor(place / depth) * stepPx, y: y + (place % depth) * stepPx };
      });
    return {
      value,
      name: value === '' ? 'no tag' : value === '…' ? 'others' : asName(value),
      total: members.length,
      stale: members.filter(({ state }) => state === 'stale').length,
      offline: members.filter(({ state }) => state === 'offline').length,
      y,
      cells,
    };
  });
  return { groups, types, heightPx: Math.ceil(groups.length * pitch), stepPx, notesX: x - blockGapPx + 15 };
}

const counted = new WeakMap<readonly DeviceRow[], Map<string, number>>();

function countOf(rows: readonly DeviceRow[], type: string): number {
  let counts = counted.get(rows);
  if (counts === undefined) {
    counts = new Map();
    for (const row of rows) counts.set(row.type, (counts.get(row.type) ?? 0) + 1);
    counted.set(rows, counts);
  }
  return counts.get(type) ?? 0;
}

/** The path of all cells in one state: filled squares, open squares, or crosses. */
export function cellPath(cells: readonly Cell[], stepPx: number, shape: 'square' | 'open' | 'cross'): string {
  const size = round(stepPx * 0.8);
  const inset = round(Math.min(0.7, stepPx * 0.11));
  const inner = round(size - 2 * inset);
  return cells
    .map(({ x, y }) => {
      if (shape === 'square') return `M${round(x)} ${round(y)}h${size}v${size}h${-size}z`;
      if (shape === 'open') return `M${round(x + inset)} ${round(y + inset)}h${inner}v${inner}h${-inner}z`;
      return `M${round(x + inset)} ${round(y + inset)}l${inner} ${inner}m0 ${-inner}l${-inner} ${inner}`;
    })
    .join('');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
