import type uPlot from 'uplot';
import { tokenColor } from '../theme.ts';
import { chartFont, write } from './chart-draw.ts';
import { type ChartData, type ChartSeries, spreadLabels } from './chart-model.ts';

/** Where the labels of lines stand: right of the plot, above the ends of the lines within it, or nowhere. */
export type Ends = 'margin' | 'inside' | 'none';

interface Labelled {
  readonly data: ChartData;
  readonly ends: Ends;
}

const linePx = 13;
const marginPxMax = 140;
/** Below it the labels would take the room of the lines; the chips or the key above the chart name them. */
const widthPxMin = { margin: 520, inside: 280 };

/** The room right of the plot. */
export function endsPx(widthPx: number, { data, ends }: Labelled): number {
  if (ends !== 'margin' || widthPx < widthPxMin.margin) return 0;
  const widest = Math.max(0, ...data.series.map(({ end, label }) => textPx(end ?? label)));
  return Math.min(marginPxMax, Math.ceil(widest) + 12);
}

/** Names each line at its end: with its colour and its dash it can be told from the others in three ways. */
export function drawEnds(u: uPlot, { data: { series }, ends }: Labelled): void {
  if (ends === 'none' || u.width < widthPxMin[ends]) return;
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  const known = series.flatMap((one) => {
    const index = one.values.findLastIndex((value) => value !== null);
    return index < 0 ? [] : [{ one, x: u.valToPos(u.data[0][index]!, 'x', true), y: valueY(u, one, index) }];
  });
  const isInside = ends === 'inside';
  const places = spreadLabels(
    known.map(({ y }) => y + (isInside ? -6 : 4) * ratio),
    linePx * ratio,
    bbox.top + 10 * ratio,
    bbox.top + bbox.height - 4 * ratio,
  );
  ctx.save();
  for (const [place, { one, x }] of known.entries()) {
    const right = bbox.left + bbox.width;
    const at = isInside ? Math.min(x, right - 4 * ratio) : right + 6 * ratio;
    const color = one.faint === true ? tokenColor('ink-2') : tokenColor('ink');
    write(
      u,
      fitted(one.end ?? one.label),
      at,
      places[place]!,
      color,
      isInside ? 'right' : 'left',
      one.faint === true ? 400 : 600,
    );
  }
  ctx.restore();
}

function valueY(u: uPlot, { values }: ChartSeries, index: number): number {
  return u.valToPos(values[index]!, 'y', true);
}

function fitted(label: string): string {
  if (textPx(label) <= marginPxMax - 12) return label;
  let short = label;
  while (short.length > 4 && textPx(`${short}…`) > marginPxMax - 12) short = short.slice(0, -1);
  return `${short}…`;
}

const ruler = new OffscreenCanvas(1, 1).getContext('2d')!;
function textPx(text: string): number {
  ruler.font = chartFont(600);
  return ruler.measureText(text).width;
}
