import type { Signal } from '@preact/signals';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { axisPx } from '../../chart/chart-options.ts';
import { pinOf } from '../../chart/pin.ts';
import type { Band, Segment } from './bands.ts';

const bandPx = 22;

/** The states of a device under its charts, on the same x: presence, booleans, texts, boots, gaps, dead letters. */
export function Bands({
  bands,
  from,
  to,
  cursor,
}: {
  readonly bands: readonly Band[];
  readonly from: number;
  readonly to: number;
  readonly cursor: Signal<number | undefined>;
}) {
  const root = useRef<HTMLDivElement>(null);
  const [widthPx, setWidth] = useState(0);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    observer.observe(root.current!);
    return () => observer.disconnect();
  }, []);
  const left = axisPx(widthPx);
  const x = (at: number) => left + ((Math.max(from, Math.min(to, at)) - from) / (to - from)) * (widthPx - left);
  const height = bands.length * bandPx;
  const at = cursor.value;
  const pin = pinOf(cursor);
  return (
    <div ref={root}>
      {widthPx > 0 && bands.length > 0 && (
        <svg
          class="chart bandsvg"
          width={widthPx}
          height={height}
          viewBox={`0 0 ${widthPx} ${height}`}
          role="img"
          aria-label={`State bands. ${bands.map(({ label, segments, note }) => `${label}: ${note ?? `${segments.length} changes`}`).join('. ')}. The read-out of the chart says the states at its cursor.`}
          onClick={() => (pin.value = !pin.value)}
          onMouseMove={(event) => {
            if (pin.value) return;
            const place = event.clientX - event.currentTarget.getBoundingClientRect().left - left;
            cursor.value = place < 0 ? undefined : from + (place / (widthPx - left)) * (to - from);
          }}
          onMouseLeave={() => {
            if (!pin.value) cursor.value = undefined;
          }}
        >
          {bands.map((band, row) => (
            <g key={band.id} transform={`translate(0 ${row * bandPx})`}>
              <text x={left - 8} y="14" text-anchor="end">
                {short(band.label, left)}
              </text>
              <rect class="lane" x={left} y="3" width={widthPx - left} height="15" rx="1" />
              {band.segments.map((segment, index) => {
                const next = band.segments[index + 1];
                return (
                  <Bar
                    key={segment.from}
                    segment={segment}
                    x={x(segment.from)}
                    end={x(segment.to)}
                    right={next === undefined ? widthPx : x(next.from)}
                  />
                );
              })}
              {band.note !== undefined && (
                <text x={left + 5} y="14" class="halo">
                  {band.note}
                </text>
              )}
            </g>
          ))}
          {at !== undefined && at >= from && at <= to && (
            <path class="cross" d={`M${Math.round(x(at)) + 0.5} 0V${height}`} />
          )}
        </svg>
      )}
    </div>
  );
}

const looks: Record<Exclude<Segment['look'], 'late'>, string> = {
  on: 'laneon',
  plain: 'lane',
  marked: 'lane2',
  faint: 'lane3',
  hole: 'hole',
};
const letterPx = 6.4;

/** Its text stands inside if it fits; that of a gap, or of readings that came late, beside it. */
function Bar({
  segment: { text, short = '', look },
  x,
  end,
  right,
}: {
  readonly segment: Segment;
  readonly x: number;
  readonly end: number;
  readonly right: number;
}) {
  const width = look === 'late' ? 0 : Math.max(1.5, end - x);
  const beside = look === 'hole' || look === 'late';
  const room = beside ? right - x - width : width;
  const fitting = [text, short].find((one) => room >= one.length * letterPx + 10) ?? '';
  return (
    <>
      {look === 'late' ? (
        <path class="ev" d={`M${Math.round(x) + 0.5} 3v15`}>
          <title>{text}</title>
        </path>
      ) : (
        <rect class={looks[look]} x={x} y="3" width={width} height="15" rx="1">
          <title>{text}</title>
        </rect>
      )}
      {fitting !== '' && (
        <text x={beside ? x + width + 6 : x + 5} y="14">
          {fitting}
        </text>
      )}
    </>
  );
}

function short(label: string, px: number): string {
  const letters = Math.floor((px - 8) / letterPx) + 1;
  return label.length <= letters ? label : `${label.slice(0, letters - 1)}…`;
}
