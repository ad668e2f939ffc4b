import type { InstanceFacts } from './facts.ts';

/** Measures of the picture: 1,392 by 250, always the same places. */
export const vessel = { left: 470, right: 800, top: 86, bottom: 166 } as const;
const axisSeconds = 15 * 60;
const middle = 126;
const thickest = 20;
const thinnest = 1.5;

/** Where an age stands in the queue: a logarithmic axis with the head, 0 s, at the right and 15 min at the left. */
export function ageX(seconds: number): number {
  const share = Math.log10(1 + Math.min(Math.max(seconds, 0), axisSeconds)) / Math.log10(1 + axisSeconds);
  return round(vessel.right - share * (vessel.right - vessel.left));
}

/** Linear, so that ribbons which join add up. */
export function thickness(perSecond: number, highest: number): number {
  if (perSecond <= 0) return 0;
  return Math.max(thinnest, (perSecond / Math.max(highest, perSecond)) * thickest);
}

interface Ribbon {
  readonly id: string;
  /** The band, and the line in its middle on which dashes move. */
  readonly band: string;
  readonly line: string;
  /** Where its instance's box is. */
  readonly y: number;
  readonly out: { readonly band: string; readonly line: string };
}

export interface Stage {
  readonly boxes: readonly (InstanceFacts & { readonly y: number; readonly heightPx: number })[];
  readonly ribbons: readonly Ribbon[];
  /** Instances that have no box of their own. */
  readonly more: number;
}

/**
 * Boxes of a stage one above the other around the middle, and the ribbons that split up before them and join behind. Instances of which
 * no rate is known share what is left. A stopped instance keeps its place at the bottom, without a ribbon.
 */
export function stageOf(
  instances: readonly InstanceFacts[],
  total: number,
  highest: number,
  {
    left,
    boxLeft,
    boxRight,
    right,
    boxPx,
    gapPx,
    boxesMax,
  }: {
    readonly left: number;
    readonly boxLeft: number;
    readonly boxRight: number;
    readonly right: number;
    readonly boxPx: number;
    readonly gapPx: number;
    readonly boxesMax: number;
  },
): Stage {
  const shown = instances.slice(0, boxesMax);
  const running = shown.filter(({ stoppedAt }) => stoppedAt === undefined);
  const known = running.reduce((sum, { perSecond = 0 }) => sum + perSecond, 0);
  const unknown = running.filter(({ perSecond }) => perSecond === undefined).length;
  const each = unknown === 0 ? 0 : Math.max(0, total - known) / unknown;
  const pitch = boxPx + gapPx;
  const top = middle - (Math.max(running.length, 1) * pitch - gapPx) / 2;
  const boxes = shown.map((one, index) => ({ ...one, y: top + index * pitch, heightPx: boxPx }));
  const widths = running.map(({ perSecond = each }) => thickness(perSecond, highest));
  let at = middle - widths.reduce((sum, width) => sum + width, 0) / 2;
  const ribbons = running.flatMap(({ id }, index): Ribbon[] => {
    const width = widths[index]!;
    const joined = at + width / 2;
    at += width;
    if (width === 0) return [];
    const own = boxes[index]!.y + boxPx / 2;
    return [
      {
        id,
        y: own,
        band: band(left, joined, boxLeft, own, width),
        line: curve(left, joined, boxLeft, own),
        out: { band: band(boxRight, own, right, joined, width), line: curve(boxRight, own, right, joined) },
      },
    ];
  });
  return { boxes, ribbons, more: instances.length - shown.length };
}

/** A band of the same thickness from one point to the other. */
export function band(x1: number, y1: number, x2: number, y2: number, width: number): string {
  const x = round((x1 + x2) / 2);
  const half = width / 2;
  const [a, b, c, d] = [y1 - half, y2 - half, y2 + half, y1 + half].map(round) as [number, number, number, number];
  return `M${x1} ${a}C${x} ${a} ${x} ${b} ${x2} ${b}V${c}C${x} ${c} ${x} ${d} ${x1} ${d}z`;
}

function curve(x1: number, y1: number, x2: number, y2: number): string {
  const x = round((x1 + x2) / 2);
  return `M${x1} ${round(y1)}C${x} ${round(y1)} ${x} ${round(y2)} ${x2} ${round(y2)}`;
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-/;

/** A name that fits into a box; of a UUID its first part. The whole one is in its title. */
export function shortName(id: string, characters: number): string {
  if (uuid.test(id)) return id.slice(0, 8);
  return id.length <= characters ? id : `${id.slice(0, characters - 1)}…`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
