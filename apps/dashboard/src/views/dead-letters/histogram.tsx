import { useState } from 'preact/hooks';
import { Area } from '../../area.tsx';
import { count, interval } from '../../format.ts';
import { setQuery } from '../../query.ts';
import type { Resource } from '../../resource.ts';
import { hourAndMinute, moment, zoneName } from '../../times.ts';
import { type Bar, type Histogram, barsOf, ticksUpTo } from './histogram.ts';
import type { Group } from './types.ts';

export const histogramRanges = [
  ['1h', '1 h'],
  ['6h', '6 h'],
  ['24h', '24 h'],
  ['7d', '7 d'],
] as const;
const [left, right, top, bottom] = [44, 1_214, 10, 72];
const keyX = right + 14;

/** Failures over time: those of the selected group, and grey the others. */
export function FailureHistogram({
  histogram,
  range,
  group,
}: {
  readonly histogram: Resource<Histogram>;
  readonly range: string;
  readonly group: Group | undefined;
}) {
  const [isTable, setTable] = useState(false);
  const known = histogram.state.value.data;
  const choice = (
    <span class="seg-ctl sm" role="group" aria-label="Range">
      {histogramRanges.map(([value, label]) => (
        <button
          key={value}
          type="button"
          aria-pressed={value === range}
          onClick={() => setQuery({ range: value === '24h' ? undefined : value })}
        >
          {label}
        </button>
      ))}
      <button type="button" aria-pressed={isTable} onClick={() => setTable(!isTable)}>
        Table
      </button>
    </span>
  );
  return (
    <section class="hist">
      <Area
        title={known === undefined ? 'Failures' : `Failures per ${interval(known.intervalSeconds * 1_000)}`}
        note={`time of the last failure, ${zoneName(Date.now())}`}
        right={choice}
        resource={histogram}
        staleMs={60_000}
      >
        {(data) => {
          if (data === undefined) return null;
          const bars = barsOf(data, group?.fingerprint);
          return isTable ? <BarTable bars={bars} group={group} /> : <Bars bars={bars} group={group} />;
        }}
      </Area>
    </section>
  );
}

function Bars({ bars, group }: { readonly bars: readonly Bar[]; readonly group: Group | undefined }) {
  const ticks = ticksUpTo(Math.max(...bars.map(({ own, others }) => own + others)));
  const y = (value: number) => bottom - (value / ticks.at(-1)!) * (bottom - top);
  const pitch = (right - left) / bars.length;
  const sum = bars.reduce((total, { own, others }) => total + own + others, 0);
  const every = Math.max(1, Math.round(bars.length / 8));
  const first = bars[0]?.at ?? 0;
  return (
    <svg
      class="chart"
      viewBox="0 0 1392 92"
      role="img"
      aria-label={`Dead letters by time of failure: ${count(sum)} since ${moment(first, Date.now())}`}
    >
      {ticks.map((value) => (
        <g key={value}>
          <path class="grid" d={`M${left} ${y(value)}H${right}`} />
          <text x="36" y={y(value) + 4} text-anchor="end">
            {count(value)}
          </text>
        </g>
      ))}
      {bars.map(({ at, own, others }, index) => {
        const x = left + index * pitch;
        const width = Math.max(1, pitch - 2);
        return (
          <g key={at}>
            {index % every === 0 && (
              <text x={x} y="88" text-anchor="middle">
                {hourAndMinute(at)}
              </text>
            )}
            {own + others > 0 && (
              <title>{`${moment(at, Date.now())}: ${count(own)} of the group, ${count(others)} others`}</title>
            )}
            {own > 0 && <rect class="hA" x={x} y={y(own)} width={width} height={bottom - y(own)} />}
            {others > 0 && (
              <rect class="hB" x={x} y={y(own + others)} width={width} height={y(own) - y(own + others)} />
            )}
          </g>
        );
      })}
      <rect class="hA" x={keyX} y="14" width="7" height="8" />
      <text x={keyX + 12} y="22" class="strong">
        {group?.reason ?? 'selected'}
      </text>
      <rect class="hB" x={keyX} y="34" width="7" height="8" />
      <text x={keyX + 12} y="42">
        other causes
      </text>
    </svg>
  );
}

function BarTable({ bars, group }: { readonly bars: readonly Bar[]; readonly group: Group | undefined }) {
  const shown = bars.filter(({ own, others }) => own + others > 0).toReversed();
  if (shown.length === 0) return <p class="dim">Nothing failed in this time.</p>;
  return (
    <div class="scrolls" tabIndex={0} role="region" aria-label="Failures over time">
      <table class="tight slim">
        <thead>
          <tr>
            <th>From</th>
            <th class="num">{group?.reason ?? 'Selected'}</th>
            <th class="num">Other causes</th>
          </tr>
        </thead>
        <tbody>
          {shown.map(({ at, own, others }) => (
            <tr key={at}>
              <td class="id">{moment(at, Date.now())}</td>
              <td class="num">{count(own)}</td>
              <td class="num">{count(others)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The same of one group, small. */
export function MiniBars({
  histogram,
  fingerprint,
  isSelected,
}: {
  readonly histogram: Histogram;
  readonly fingerprint: string;
  readonly isSelected: boolean;
}) {
  const bars = barsOf(histogram, fingerprint);
  const most = Math.max(1, ...bars.map(({ own }) => own));
  const pitch = 88 / bars.length;
  return (
    <svg class="mini" viewBox="0 0 88 20" aria-hidden="true">
      {bars.map(({ at, own }, index) =>
        own === 0 ? null : (
          <rect
            key={at}
            class={isSelected ? 'hA' : 'hB'}
            x={index * pitch}
            y={20 - Math.max(1, (own / most) * 19)}
            width={Math.max(1, pitch - 1)}
            height={Math.max(1, (own / most) * 19)}
          />
        ),
      )}
    </svg>
  );
}
