import uPlot from 'uplot';
import { decimalsOf, metricValue, noBreakSpace } from '../format.ts';
import { tokenColor } from '../theme.ts';
import { day, hourAndMinute, timeOfDay, zone } from '../times.ts';
import { type Marks, chartFont, drawAbove, drawBelow, withAlpha } from './chart-draw.ts';
import { type Ends, drawEnds, endsPx } from './chart-ends.ts';
import { type ChartData, type ChartSeries, dashes } from './chart-model.ts';

export interface ChartInput {
  readonly data: ChartData;
  readonly from: number;
  readonly to: number;
  readonly marks: Marks;
  /** Rates and counts begin at 0; other values where the data needs it. */
  readonly fromZero: boolean;
  readonly ends: Ends;
}

export interface ChartHandlers {
  readonly onCursor: (index: number | undefined) => void;
  readonly onZoom: (from: number, to: number) => void;
  readonly onZoomBack: () => void;
}

/** The width of the axis, so that charts and bands of a view share their x. */
export const axisPx = (widthPx: number): number => (widthPx < 600 ? 44 : 62);

const letterPx = 6.5;

/** A lower chart has its ticks closer to each other, so that it has some. */
const lowPx = 160;

/** @param input is read again whenever the chart draws, so that new values need no new chart */
export function chartOptions(
  widthPx: number,
  heightPx: number,
  input: () => ChartInput,
  handlers: ChartHandlers,
): uPlot.Options {
  const { series } = input().data;
  const inkSecondary = tokenColor('ink-2');
  const rule = tokenColor('rule');
  const axis = { stroke: inkSecondary, font: chartFont(), ticks: { show: false }, grid: { stroke: rule, width: 1 } };
  const lines: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  const lineOf = new Map<string, number>();
  for (const one of series) {
    // A depth is amber: it says how much waits.
    const isDepth = one.fillTo === 0;
    const color = tokenColor(isDepth ? 'warn-fill' : `s${one.slot + 1}`);
    lineOf.set(one.id, lines.length);
    lines.push({
      label: one.label,
      stroke: color,
      width: one.faint === true ? 1 : 1.5,
      ...(isDepth && { fill: withAlpha(color, 0.18), fillTo: 0 }),
      dash: isDepth ? [] : one.faint === true ? [1.5, 2.5] : [...dashes[one.slot]!],
      ...(one.slot === 5 && { cap: 'round' as const }),
      points: {
        show: true,
        filter: (u, index) => shownPoints(u, index, input().data),
        size: 4,
        fill: color,
        stroke: color,
      },
    });
    if (one.min === undefined || one.max === undefined) continue;
    const hidden: uPlot.Series = { stroke: 'transparent', width: 0, points: { show: false } };
    lines.push(hidden, { ...hidden });
    bands.push({ series: [lines.length - 2, lines.length - 1], fill: withAlpha(color, 0.17) });
  }
  for (const { id, fillTo } of series) {
    const own = lineOf.get(id);
    const other = typeof fillTo === 'string' ? lineOf.get(fillTo) : undefined;
    if (own === undefined || other === undefined) continue;
    // A band is filled where its first line is the upper one: amber where more comes than goes, and where it is made up for in the colour of the wire.
    bands.push(
      { series: [own, other], fill: withAlpha(tokenColor('warn-fill'), 0.16) },
      { series: [other, own], fill: withAlpha(tokenColor('wire'), 0.12) },
    );
  }
  return {
    width: widthPx,
    height: heightPx,
    ms: 1,
    padding: [8, endsPx(widthPx, input()), 0, 0],
    legend: { show: false },
    tzDate: (ts) => uPlot.tzDate(new Date(ts), zone.peek()),
    scales: {
      x: { time: true, range: () => [input().from, input().to] },
      y: { range: (_u, min, max) => yRange(min, max, input()) },
    },
    axes: [
      {
        ...axis,
        size: 24,
        gap: 6,
        space: 90,
        values: (u, splits) => withinPlot(u, splits, timeLabels(splits, input().to - input().from)),
      },
      {
        ...axis,
        size: axisPx(widthPx),
        gap: 8,
        space: heightPx < lowPx ? 22 : 42,
        values: (_u, splits) => numberLabels(splits),
      },
    ],
    series: lines,
    bands,
    cursor: {
      y: false,
      drag: { x: true, y: false, setScale: false },
      points: {
        size: 7,
        width: 0,
        fill: (_u, index) =>
          lines[index]?.stroke === 'transparent' ? 'transparent' : tokenColor(`s${slotOf(series, index) + 1}`),
      },
      bind: { dblclick: () => () => (handlers.onZoomBack(), null) },
    },
    hooks: {
      drawAxes: [(u) => drawBelow(u, input().marks, input().data.series)],
      draw: [(u) => drawAbove(u, input().marks), (u) => drawEnds(u, input())],
      setCursor: [(u) => handlers.onCursor(u.cursor.idx ?? undefined)],
      setSelect: [
        (u) => {
          const { left, width } = u.select;
          if (width < 4) return;
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          handlers.onZoom(u.posToVal(left, 'x'), u.posToVal(left + width, 'x'));
        },
      ],
    },
  };
}

/** The columns of uPlot: time, and for each series the average, then the greatest and least values. */
export function columnsOf({ t, series }: ChartData): uPlot.AlignedData {
  const columns: (readonly (number | null)[])[] = [];
  for (const { values, min, max } of series)
    columns.push(values, ...(min === undefined || max === undefined ? [] : [max, min]));
  return [t, ...columns] as unknown as uPlot.AlignedData;
}

/** Changes of it need a new chart; changes of values do not. */
export function shapeOf({ series }: ChartData): string {
  return series.map(({ id, slot, min }) => `${id}:${slot}:${min === undefined}`).join('|');
}

function slotOf(series: readonly ChartSeries[], line: number): number {
  let at = 1;
  for (const { slot, min, max } of series) {
    const next = at + (min === undefined || max === undefined ? 1 : 3);
    if (line < next) return slot;
    at = next;
  }
  return 0;
}

/** Single readings get points where there is room, below 3 readings per 20 pixels; so does a value between two gaps, that no line would show. */
function shownPoints(u: uPlot, index: number, { bucketMs, t }: ChartData): number[] {
  const values = u.data[index]!;
  const all = bucketMs === undefined && t.length < (u.width / 20) * 3;
  const shown: number[] = [];
  for (const [at, value] of values.entries()) {
    if (value === null || value === undefined) continue;
    if (all || ((values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null)) shown.push(at);
  }
  return shown;
}

function yRange(min: number | null, max: number | null, { data, marks, fromZero }: ChartInput): uPlot.Range.MinMax {
  if (min === null || max === null || data.series.length === 0) return [0, 1];
  let low = fromZero ? Math.min(0, min) : min;
  let high = max;
  const spread = high - low || Math.abs(high) || 1;
  for (const { value } of marks.thresholds) {
    // A limit that is far away would flatten the line.
    if (value > high && value - high <= spread * 1.5) high = value;
    if (value < low && low - value <= spread * 1.5) low = value;
  }
  const [bottom, top] = uPlot.rangeNum(low, high, {
    min: { pad: 0.08, hard: fromZero ? 0 : -Infinity, soft: 0, mode: 0 },
    max: { pad: 0.08, soft: 0, mode: 0 },
  });
  return [fromZero && low >= 0 ? 0 : bottom!, top!];
}

/** A label that would be cut at the right edge is left out. */
function withinPlot(u: uPlot, splits: readonly number[], labels: readonly string[]): string[] {
  return labels.map((label, index) => {
    const end = u.valToPos(splits[index]!, 'x') + (label.length * letterPx) / 2;
    return axisPx(u.width) + end > u.width ? '' : label;
  });
}

function timeLabels(splits: readonly number[], rangeMs: number): string[] {
  let before: string | undefined;
  return splits.map((at) => {
    const date = day(at);
    const isNewDay = before !== undefined ? date !== before : hourAndMinute(at) === '00:00';
    before = date;
    if (rangeMs > 3 * 86_400_000 && hourAndMinute(at) === '00:00') return date;
    if (isNewDay) return `${date} ${hourAndMinute(at)}`;
    return rangeMs <= 5 * 60_000 ? timeOfDay(at) : hourAndMinute(at);
  });
}

function numberLabels(splits: readonly number[]): string[] {
  const decimals = decimalsOf(splits, 6);
  // The axis has room for six characters.
  const most = Math.max(...splits.map(Math.abs));
  const short = [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const;
  const [size, unit] = most < 100_000 ? [1, ''] : short.find(([one]) => most >= one)!;
  if (size > 1)
    return splits.map((value) => (value === 0 ? '0' : `${metricValue(value / size, 2)}${noBreakSpace}${unit}`));
  return splits.map((value) => metricValue(value, decimals));
}
