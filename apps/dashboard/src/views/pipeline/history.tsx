import type { components } from '@fleetwire/client/openapi';
import { useSignal } from '@preact/signals';
import { useMemo, useState } from 'preact/hooks';
import { Area } from '../../area.tsx';
import type { ChartEvent } from '../../chart/chart-model.ts';
import { Chart, SeriesMark } from '../../chart/chart.tsx';
import { Twin } from '../../chart/twin.tsx';
import { count, rate } from '../../format.ts';
import { setQuery } from '../../query.ts';
import type { Resource } from '../../resource.ts';
import { hourAndMinute } from '../../times.ts';
import { queueCharts } from './history.ts';

export type QueueHistory = components['schemas']['QueueHistory'];
export const historyRanges = [
  ['1h', '1 h'],
  ['24h', '24 h'],
] as const;

/** Depth and rates of the queue over the last hour or day, with their table. */
export function History({
  history,
  range,
  events,
}: {
  readonly history: Resource<QueueHistory>;
  readonly range: (typeof historyRanges)[number][0];
  readonly events: readonly ChartEvent[];
}) {
  const cursor = useSignal<number | undefined>(undefined);
  const [isTable, setTable] = useState(false);
  const known = history.state.value.data;
  const charts = useMemo(
    () =>
      known === undefined
        ? undefined
        : queueCharts(
            known.data.find(({ name }) => name === 'telemetry.persist')?.points ?? [],
            known.intervalSeconds * 1_000,
          ),
    [known],
  );
  const choice = (
    <span class="seg-ctl sm" role="group" aria-label="Range">
      {historyRanges.map(([value, label]) => (
        <button
          key={value}
          type="button"
          aria-pressed={value === range}
          onClick={() => setQuery({ range: value === '1h' ? undefined : value })}
        >
          {label}
        </button>
      ))}
      <button type="button" aria-pressed={isTable} onClick={() => setTable(!isTable)}>
        Table
      </button>
    </span>
  );
  const note =
    charts?.deepest === undefined
      ? undefined
      : `most ${count(charts.deepest.value)} at ${hourAndMinute(charts.deepest.at)}`;
  return (
    <Area
      title={`Queue depth, ${charts?.unit ?? 'readings'}`}
      note={note}
      right={choice}
      resource={history}
      staleMs={60_000}
      about={`${range} of the queue`}
      affects="The figures above go on."
    >
      {(data) => {
        if (data === undefined || charts === undefined) return null;
        if (charts.depth.t.length === 0)
          return <p class="dim">No sample yet: the depth is written every 15 s, and kept for 25 h.</p>;
        const [from, to] = [Date.parse(data.from), Date.parse(data.to)];
        const last = (index: number) => charts.rates.series[index]?.values.findLast((value) => value !== null);
        const common = { from, to, cursor, fromZero: true, onTwin: () => setTable(!isTable) };
        return isTable ? (
          <>
            <Twin title="Queue depth" data={charts.depth} cursor={cursor} heightPx={180} />
            <Twin title="Rates of the queue" data={charts.rates} cursor={cursor} heightPx={180} />
          </>
        ) : (
          <>
            <Chart title="Depth of the queue" data={charts.depth} heightPx={176} events={events} {...common} />
            <div class="h h-2">
              <h2>{charts.unit === 'readings' ? 'Readings/s' : 'Messages/s'}</h2>
              <span class="r key">
                <SeriesMark slot={1} />
                in {rate(last(1) ?? 0)} <SeriesMark slot={0} />
                stored {rate(last(0) ?? 0)}
              </span>
            </div>
            <Chart
              title="Rates of the queue"
              data={charts.rates}
              heightPx={138}
              events={events.map((event) => ({ ...event, label: '' }))}
              {...common}
            />
          </>
        );
      }}
    </Area>
  );
}
