import type uPlot from 'uplot';
import { tokenColor } from '../theme.ts';
import { timeOfDay } from '../times.ts';
import type { ChartEvent, ChartSeries, Hole, Threshold } from './chart-model.ts';

/** What is drawn on the canvas besides lines: holes, thresholds, and the edge between stored and live. */
export interface Marks {
  readonly holes: readonly Hole[];
  readonly thresholds: readonly Threshold[];
  readonly events: readonly ChartEvent[];
  /** Up to when everything is stored; undefined where that is not known or the chart shows no live readings. */
  readonly completeUntil: number | undefined;
  /** The end of what is live. */
  readonly liveUntil: number | undefined;
}

const fontFamily = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';

export function chartFont(weight = 400): string {
  return `${weight} 11px ${fontFamily}`;
}

/** @param alpha 0 to 1 */
export function withAlpha(color: string, alpha: number): string {
  const parts = color.match(/[\d.]+/g) ?? ['0', '0', '0'];
  return `rgba(${parts.slice(0, 3).join(', ')}, ${alpha})`;
}

/** Below the lines: a gap in sequence over the height of the chart, and the tint over a threshold. */
export function drawBelow(u: uPlot, marks: Marks, series: readonly ChartSeries[]): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const { from, to } of marks.holes) {
    const left = u.valToPos(from, 'x', true);
    const width = Math.max(3 * devicePixelRatio, u.valToPos(to, 'x', true) - left);
    ctx.globalAlpha = 0.5;
    ctx.fillStyle = hatch(tokenColor('edge'), tokenColor('sunken'), 6);
    ctx.fillRect(left, bbox.top, width, bbox.height);
    ctx.globalAlpha = 1;
  }
  const first = series[0];
  for (const threshold of marks.thresholds) if (first !== undefined) tintOver(u, threshold, first);
  ctx.restore();
}

/** Above the lines: thresholds and events with their labels, what is live and not stored yet, labels of holes. */
export function drawAbove(u: uPlot, marks: Marks): void {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  const crit = tokenColor('crit');
  for (const { value, label } of marks.thresholds) {
    const y = Math.round(u.valToPos(value, 'y', true)) + 0.5;
    ctx.strokeStyle = crit;
    ctx.lineWidth = ratio;
    ctx.setLineDash([5 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.setLineDash([]);
    write(u, label, bbox.left + 6 * ratio, y - 5 * ratio, crit, 'left');
  }
  for (const { from, to, label } of marks.holes) {
    const x = u.valToPos((from + to) / 2, 'x', true);
    const isLeft = x < bbox.left + bbox.width / 2;
    write(
      u,
      label,
      isLeft ? u.valToPos(from, 'x', true) + 6 * ratio : u.valToPos(to, 'x', true) - 6 * ratio,
      bbox.top + bbox.height - 8 * ratio,
      tokenColor('ink-2'),
      isLeft ? 'left' : 'right',
    );
  }
  drawEvents(u, marks.events);
  drawLiveEdge(u, marks);
  ctx.restore();
}

const eventRowPx = 14;

/** A dotted line for each event with a label; labels that would stand on one another stand one below the other. */
function drawEvents(u: uPlot, events: readonly ChartEvent[]): void {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  ctx.font = chartFont().replace('11px', `${11 * ratio}px`);
  const rowEnds: number[] = [];
  for (const { at, label } of events.toSorted((a, b) => a.at - b.at)) {
    const x = Math.round(u.valToPos(at, 'x', true)) + 0.5;
    if (label === undefined || x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = tokenColor('ink-3');
    ctx.lineWidth = ratio;
    ctx.setLineDash([ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    const width = ctx.measureText(label).width + 6 * ratio;
    const isLeft = x + width > bbox.left + bbox.width;
    const [start, end] = isLeft ? [x - width, x] : [x, x + width];
    const free = rowEnds.findIndex((taken) => taken < start);
    const row = free === -1 ? rowEnds.length : free;
    rowEnds[row] = end;
    const y = bbox.top + (10 + row * eventRowPx) * ratio;
    write(u, label, isLeft ? x - 5 * ratio : x + 5 * ratio, y, tokenColor('ink-2'), isLeft ? 'right' : 'left');
  }
}

function drawLiveEdge(u: uPlot, { completeUntil, liveUntil }: Marks): void {
  if (completeUntil === undefined || liveUntil === undefined || liveUntil <= completeUntil) return;
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  const left = Math.max(bbox.left, u.valToPos(completeUntil, 'x', true));
  const right = Math.min(bbox.left + bbox.width, u.valToPos(liveUntil, 'x', true));
  // Less than two pixels of delay is not worth a line.
  if (right - left < 2 * ratio) return;
  const warn = tokenColor('warn-fill');
  ctx.globalAlpha = 0.6;
  ctx.fillStyle = hatch(warn, undefined, 5);
  ctx.fillRect(left, bbox.top, right - left, bbox.height);
  ctx.globalAlpha = 1;
  ctx.fillStyle = warn;
  ctx.fillRect(Math.round(left), bbox.top, ratio, bbox.height);
  const text = `stored until ${timeOfDay(completeUntil)}, then live`;
  const onLeft = left - bbox.left > 190 * ratio;
  write(
    u,
    text,
    onLeft ? left - 6 * ratio : right - 6 * ratio,
    bbox.top + bbox.height - 8 * ratio,
    tokenColor('warn'),
    'right',
  );
}

/** Text with a halo of the ground, so that lines do not cross it. */
export function write(
  u: uPlot,
  text: string,
  x: number,
  y: number,
  color: string,
  align: CanvasTextAlign,
  weight = 400,
): void {
  const { ctx } = u;
  ctx.font = chartFont(weight).replace('11px', `${11 * devicePixelRatio}px`);
  ctx.textAlign = align;
  ctx.textBaseline = 'alphabetic';
  ctx.lineJoin = 'round';
  ctx.lineWidth = 3 * devicePixelRatio;
  ctx.strokeStyle = tokenColor('paper');
  ctx.strokeText(text, x, y);
  ctx.fillStyle = color;
  ctx.fillText(text, x, y);
}

function tintOver(u: uPlot, { value, side }: Threshold, { values }: ChartSeries): void {
  const { ctx } = u;
  const t = u.data[0];
  const limit = u.valToPos(value, 'y', true);
  const over = (one: number | null | undefined): one is number =>
    typeof one === 'number' && (side === 'above' ? one > value : one < value);
  ctx.fillStyle = withAlpha(tokenColor('crit'), 0.09);
  let start: number | undefined;
  for (let index = 0; index <= values.length; index += 1) {
    const one = values[index];
    if (over(one)) {
      const x = u.valToPos(t[index]!, 'x', true);
      if (start === undefined) {
        start = x;
        ctx.beginPath();
        ctx.moveTo(x, limit);
      }
      ctx.lineTo(x, u.valToPos(one, 'y', true));
    } else if (start !== undefined) {
      ctx.lineTo(u.valToPos(t[index - 1]!, 'x', true), limit);
      ctx.closePath();
      ctx.fill();
      start = undefined;
    }
  }
}

const tiles = new Map<string, CanvasPattern>();

/** Diagonal lines, as the SVG patterns of the page. */
function hatch(color: string, ground: string | undefined, size: number): CanvasPattern {
  const key = `${color} ${ground} ${size} ${devicePixelRatio}`;
  const known = tiles.get(key);
  if (known !== undefined) return known;
  const side = Math.round(size * Math.SQRT2 * devicePixelRatio);
  const tile = new OffscreenCanvas(side, side);
  const ctx = tile.getContext('2d')!;
  if (ground !== undefined) {
    ctx.fillStyle = ground;
    ctx.fillRect(0, 0, side, side);
  }
  ctx.strokeStyle = color;
  ctx.lineWidth = 1.4 * devicePixelRatio;
  ctx.beginPath();
  for (const shift of [-side, 0, side]) {
    ctx.moveTo(shift, side);
    ctx.lineTo(shift + side, 0);
  }
  ctx.stroke();
  const pattern = ctx.createPattern(tile, 'repeat')!;
  tiles.set(key, pattern);
  return pattern;
}
