import 'uplot/dist/uPlot.min.css';
import type { Signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { copy } from '../download.ts';
import { metricValue } from '../format.ts';
import { colors, isPrinting } from '../theme.ts';
import { timeOfDay, zone, zoneName } from '../times.ts';
import {
  type ChartData,
  type ChartEvent,
  type Hole,
  type Threshold,
  bucketLength,
  chartLabel,
  decimalsFor,
  eventsOf,
  nearest,
  spoken,
} from './chart-model.ts';
import type { Ends } from './chart-ends.ts';
import { type ChartInput, axisPx, chartOptions, columnsOf, shapeOf } from './chart-options.ts';
import { pinOf } from './pin.ts';
import { PrintedTwin } from './printed-twin.tsx';

interface ChartProps {
  /** What the chart is about, for its label: `Temperatures of truck-0388`. */
  readonly title: string;
  readonly data: ChartData;
  readonly from: number;
  readonly to: number;
  /** The time under the cursor, shared by all charts, bands and the table of a view. */
  readonly cursor: Signal<number | undefined>;
  readonly heightPx?: number;
  readonly unit?: string;
  readonly fromZero?: boolean;
  readonly thresholds?: readonly Threshold[];
  readonly holes?: readonly Hole[];
  readonly completeUntil?: number | undefined;
  readonly liveUntil?: number | undefined;
  readonly events?: readonly ChartEvent[];
  /** More lines of the read-out: the states of the bands at a time. */
  readonly states?: (at: number) => ComponentChildren;
  readonly onZoom?: (from: number, to: number) => void;
  readonly onZoomBack?: () => void;
  readonly onPan?: (byMs: number) => void;
  /** Whether it shows the read-out while the pointer is elsewhere: one chart of a view does. */
  readonly leads?: boolean;
  /** Opens the table with the same buckets. */
  readonly onTwin?: () => void;
  readonly ends?: Ends;
}

const spokenEveryMs = 500;
const none: readonly never[] = [];

/**
 * A chart over time: average lines with the least and greatest values around them, holes, thresholds and the edge between stored and live.
 * Its cursor can be moved by keys, and is read out.
 */
export function Chart(props: ChartProps) {
  const {
    title,
    data,
    from,
    to,
    cursor,
    heightPx = 258,
    unit,
    fromZero = false,
    thresholds = none,
    holes = none,
    events = none,
    completeUntil,
    liveUntil,
    leads = true,
    ends = 'none',
  } = props;
  const root = useRef<HTMLDivElement>(null);
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | undefined>(undefined);
  const latest = useRef(props);
  latest.current = props;
  const input = useRef<ChartInput | undefined>(undefined);
  input.current = { data, from, to, fromZero, ends, marks: { holes, thresholds, events, completeUntil, liveUntil } };
  const [widthPx, setWidth] = useState(0);
  const [focus, setFocus] = useState<number>();
  const pin = pinOf(cursor);
  const [isOver, setOver] = useState(false);
  /** The cursor is that of the pointer, which stays at its place. One that was moved by keys stays at its time, also while a live range moves on. */
  const isPointed = useRef(false);
  const shape = `${shapeOf(data)} ${heightPx} ${colors.value} ${zone.value} ${widthPx < 600}`;

  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    observer.observe(host.current!);
    return () => observer.disconnect();
  }, []);

  useLayoutEffect(() => {
    if (widthPx === 0) return;
    const made = new uPlot(
      chartOptions(widthPx, heightPx, () => input.current!, {
        onCursor: (index) => {
          if (!isPointed.current) return;
          const { t } = input.current!.data;
          // A range that moves on shifts what is under a cursor that stands still; a pinned one goes with its values.
          if (!pin.value) cursor.value = index === undefined ? undefined : t[index];
        },
        onZoom: (start, end) => latest.current.onZoom?.(start, end),
        onZoomBack: () => latest.current.onZoomBack?.(),
      }),
      columnsOf(input.current!.data),
      host.current!,
    );
    chart.current = made;
    const endPointer = followPointer(made, () => latest.current, pin);
    return () => {
      endPointer();
      made.destroy();
      chart.current = undefined;
    };
  }, [shape, widthPx === 0]);

  useLayoutEffect(() => {
    const made = chart.current;
    if (made !== undefined && made.width !== widthPx) made.setSize({ width: widthPx, height: heightPx });
  }, [widthPx]);

  useLayoutEffect(() => {
    chart.current?.setData(columnsOf(data));
    if (chart.current !== undefined && (pin.value || !isPointed.current))
      placeCursor(chart.current, data.t, cursor.peek());
  }, [data, from, to, thresholds, holes, events, completeUntil, liveUntil]);

  useEffect(
    () =>
      cursor.subscribe((at) => {
        const made = chart.current;
        if (made === undefined) return;
        const index = at === undefined ? undefined : nearest(input.current!.data.t, at);
        if (index !== (made.cursor.idx ?? undefined)) placeCursor(made, input.current!.data.t, at);
      }),
    [cursor, shape, widthPx === 0],
  );

  const at = cursor.value;
  // The first bucket may begin before the range.
  const index = at === undefined || at < Math.min(from, data.t[0] ?? from) || at > to ? undefined : nearest(data.t, at);
  const marked = useMemo(() => eventsOf(data, thresholds, events), [data, thresholds, events]);

  function onKeyDown(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== root.current) return;
    const { t, series } = data;
    const here = index ?? t.length - 1;
    const step = event.shiftKey ? 10 : 1;
    // The range may begin within a bucket, and a live one has left some behind.
    const first = Math.max(
      0,
      t.findIndex((time) => time >= from),
    );
    const go = (next: number) => {
      isPointed.current = false;
      if (t.length > 0) cursor.value = t[Math.max(first, Math.min(t.length - 1, next))];
    };
    const actions: Record<string, () => void> = {
      ArrowLeft: () => go(here - step),
      ArrowRight: () => go(here + step),
      Home: () => go(first),
      End: () => go(t.length - 1),
      ArrowUp: () => setFocus(((focus ?? 0) - 1 + series.length) % Math.max(1, series.length)),
      ArrowDown: () => setFocus(((focus ?? -1) + 1) % Math.max(1, series.length)),
      n: () => go(nearest(t, marked.find((one) => one.at > t[here]!)?.at ?? t[here]!) ?? here),
      p: () => go(nearest(t, marked.findLast((one) => one.at < t[here]!)?.at ?? t[here]!) ?? here),
      Enter: () => {
        if (index !== undefined) pin.value = !pin.value;
      },
      Escape: () => {
        pin.value = false;
        cursor.value = undefined;
      },
      T: () => props.onTwin?.(),
      c: () => {
        const value = data.series[focus ?? 0]?.values[here];
        if (value !== undefined && value !== null) void copy(String(value));
      },
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  const event = index === undefined ? undefined : marked.find((one) => nearest(data.t, one.at) === index);
  const text =
    index === undefined
      ? ''
      : `${spoken(data, index, focus === undefined ? undefined : data.series[focus], thresholds)}${event === undefined ? '' : `, ${event.text}`}${pin.value ? ', pinned' : ''}`;
  return (
    <div
      class={`uchart${pin.value ? ' pinned' : ''}`}
      role="application"
      aria-roledescription="chart"
      tabIndex={0}
      aria-label={`${chartLabel(title, data)}. Arrow keys move the cursor, Enter pins it, T opens the table.`}
      ref={root}
      onKeyDown={onKeyDown}
      onMouseEnter={() => {
        setOver(true);
        isPointed.current = true;
      }}
      onMouseMove={() => (isPointed.current = true)}
      onMouseLeave={() => {
        setOver(false);
        isPointed.current = false;
      }}
      onFocus={() => setOver(true)}
      onBlur={() => setOver(false)}
    >
      {unit !== undefined && unit !== '' && <span class="axis-unit">{unit}</span>}
      <div ref={host} />
      {index !== undefined && at !== undefined && (isOver || leads) && (
        <ReadOut data={data} index={index} side={isRight(at, from, to) ? 'left' : 'right'} axis={axisPx(widthPx)}>
          {event !== undefined && <p>{event.text}</p>}
          {props.states?.(at)}
          {pin.value && <p class="pin">Pinned. Click again or Esc to release.</p>}
        </ReadOut>
      )}
      <Spoken text={text} isFocused={() => document.activeElement === root.current} />
      {isPrinting.value && <PrintedTwin title={title} data={data} from={from} to={to} />}
    </div>
  );
}

/** Puts the cursor to a time without telling it to the page. */
function placeCursor(u: uPlot, t: readonly number[], at: number | undefined): void {
  const index = at === undefined ? undefined : nearest(t, at);
  const left = index === undefined ? -10 : u.valToPos(t[index]!, 'x');
  u.setCursor({ left, top: left < 0 ? -10 : 10 }, false);
}

const isRight = (at: number, from: number, to: number) => at > (from + to) / 2;

/** Values of all series at the cursor, in the corner opposite to it. */
function ReadOut({
  data,
  index,
  side,
  axis,
  children,
}: {
  readonly data: ChartData;
  readonly index: number;
  readonly side: 'left' | 'right';
  readonly axis: number;
  readonly children: ComponentChildren;
}) {
  const time = data.t[index]!;
  return (
    <div
      class={`readout ${side}`}
      aria-hidden="true"
      ref={(element) => {
        if (element !== null) element.style.left = side === 'left' ? `${axis + 10}px` : '';
      }}
    >
      <p>
        <b>
          {timeOfDay(time)} {zoneName(time)}
        </b>
        <span>{bucketLength(data.bucketMs)}</span>
      </p>
      <table>
        <tbody>
          {data.series.map((line) => {
            const decimals = decimalsFor(line);
            const value = line.values[index];
            const low = line.min?.[index];
            const high = line.max?.[index];
            return (
              <tr key={line.id}>
                <td>
                  <SeriesMark slot={line.slot} /> {line.label}
                </td>
                <td class="num">
                  <b>{value === null || value === undefined ? '—' : metricValue(value, decimals)}</b>
                </td>
                <td class="num">
                  {typeof low === 'number' && typeof high === 'number' && low !== high
                    ? `${metricValue(low, decimals)} … ${metricValue(high, decimals)}`
                    : ''}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {children}
    </div>
  );
}

/** Colour and dash of a series. */
export function SeriesMark({ slot }: { readonly slot: number }) {
  return (
    <svg class="kl" viewBox="0 0 18 8" aria-hidden="true">
      <path class={`ln s${slot + 1}`} d="M0 4h18" />
    </svg>
  );
}

/** The cursor, read out while the chart has the focus: one message in half a second at most. */
function Spoken({ text, isFocused }: { readonly text: string; readonly isFocused: () => boolean }) {
  const [said, say] = useState('');
  const last = useRef(0);
  useEffect(() => {
    if (!isFocused()) return;
    const timer = setTimeout(
      () => {
        last.current = Date.now();
        say(text);
      },
      Math.max(0, last.current + spokenEveryMs - Date.now()),
    );
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <div class="seen-not" aria-live="polite">
      {said}
    </div>
  );
}

/** A click pins the cursor, or releases it; shift with a drag pans, Ctrl with the wheel zooms. @returns ends it */
function followPointer(u: uPlot, props: () => ChartProps, pin: Signal<boolean>): () => void {
  const { over } = u;
  const msPerPx = () => (props().to - props().from) / over.clientWidth;
  const onDown = (event: MouseEvent) => {
    if (!event.shiftKey || props().onPan === undefined) return;
    event.stopImmediatePropagation();
    let x = event.clientX;
    const onMove = (moved: MouseEvent) => {
      if (Math.abs(moved.clientX - x) < 2) return;
      props().onPan!((x - moved.clientX) * msPerPx());
      x = moved.clientX;
    };
    document.addEventListener('mousemove', onMove);
    document.addEventListener('mouseup', () => document.removeEventListener('mousemove', onMove), { once: true });
  };
  const onWheel = (event: WheelEvent) => {
    const { from, to, onZoom } = props();
    if (!event.ctrlKey || onZoom === undefined) return;
    event.preventDefault();
    const middle = u.posToVal(event.offsetX, 'x');
    const factor = event.deltaY > 0 ? 1.25 : 0.8;
    onZoom(middle - (middle - from) * factor, middle + (to - middle) * factor);
  };
  // uPlot gets no click after a drag, and so does not get here.
  const onClick = (event: MouseEvent) => {
    if (!event.shiftKey && (pin.value || props().cursor.value !== undefined)) pin.value = !pin.value;
  };
  const hold = (event: MouseEvent) => {
    if (pin.value && event.buttons === 0) event.stopImmediatePropagation();
  };
  over.addEventListener('click', onClick);
  over.addEventListener('mousemove', hold, { capture: true });
  over.addEventListener('mouseleave', hold, { capture: true });
  over.addEventListener('mousedown', onDown, { capture: true });
  over.addEventListener('wheel', onWheel, { passive: false });
  return () => {
    over.removeEventListener('click', onClick);
    over.removeEventListener('mousemove', hold, { capture: true });
    over.removeEventListener('mouseleave', hold, { capture: true });
    over.removeEventListener('mousedown', onDown, { capture: true });
    over.removeEventListener('wheel', onWheel);
  };
}
