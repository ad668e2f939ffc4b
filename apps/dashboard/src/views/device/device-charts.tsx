import type { Signal } from '@preact/signals';
import { Chart, SeriesMark } from '../../chart/chart.tsx';
import type { ChartData, Hole, Threshold } from '../../chart/chart-model.ts';
import { withUnit } from '../../chart/chart-model.ts';
import { duration } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import { limitOf, unitOf } from '../../metadata.ts';
import { Bands } from './band-view.tsx';
import { type Band, statesAt } from './bands.ts';
import type { Envelope } from './buckets.ts';
import type { DeviceRange } from './device-range.ts';

export interface ChartGroup {
  readonly unit: string;
  readonly data: ChartData;
  readonly thresholds: readonly Threshold[];
}

type Metadata = Readonly<Record<string, unknown>> | undefined;

/** A chart for each unit, in the order of the metrics; a metric keeps its place in the palette while it is on the page. */
export function chartGroups(envelope: Envelope, metrics: readonly string[], metadata: Metadata): ChartGroup[] {
  const byUnit = new Map<string, string[]>();
  for (const metric of metrics) {
    // Metrics without a unit have nothing in common: each has a chart.
    const unit = unitOf(metadata, metric);
    const key = unit === '' ? `\u0000${metric}` : unit;
    byUnit.set(key, [...(byUnit.get(key) ?? []), metric]);
  }
  return [...byUnit].map(([key, members]) => {
    const unit = key.startsWith('\u0000') ? '' : key;
    return {
      unit,
      thresholds: members.flatMap((metric): Threshold[] => {
        const { above, below } = limitOf(metadata, metric) ?? {};
        return [
          ...(above === undefined
            ? []
            : [{ value: above, side: 'above' as const, label: `limit ${withUnit(above, unit)}` }]),
          ...(below === undefined
            ? []
            : [{ value: below, side: 'below' as const, label: `limit ${withUnit(below, unit)}` }]),
        ];
      }),
      data: {
        t: envelope.t,
        bucketMs: envelope.bucketMs,
        series: members.flatMap((metric) => {
          const held = envelope.metrics[metric];
          return held === undefined
            ? []
            : [
                {
                  id: metric,
                  label: metric,
                  unit,
                  slot: metrics.indexOf(metric) % 8,
                  values: held.avg,
                  min: held.min,
                  max: held.max,
                },
              ];
        }),
      },
    };
  });
}

export function DeviceCharts({
  deviceId,
  groups,
  bands,
  holes,
  range,
  cursor,
  completeUntil,
  available,
  source,
  onMetrics,
  metrics,
  onTwin,
}: {
  readonly deviceId: string;
  readonly groups: readonly ChartGroup[];
  readonly bands: readonly Band[];
  readonly holes: readonly Hole[];
  readonly range: DeviceRange;
  readonly cursor: Signal<number | undefined>;
  readonly completeUntil: number | undefined;
  readonly available: readonly string[];
  readonly source: string | undefined;
  readonly metrics: readonly string[];
  readonly onMetrics: (metrics: readonly string[]) => void;
  readonly onTwin: () => void;
}) {
  const { from, to } = range.range;
  const bucketMs = groups[0]?.data.bucketMs;
  const boots =
    bands
      .find(({ id }) => id === 'boot')
      ?.segments.slice(1)
      .map((segment) => ({ at: segment.from, text: `boot ${segment.text}` })) ?? [];
  return (
    <>
      {groups.map((group, index) => (
        <div key={group.unit + group.data.series[0]?.id}>
          <div class={`legend${index === 0 ? '' : ' l2'}`}>
            {group.data.series.map(({ id, slot }) => (
              <button
                key={id}
                type="button"
                class="chip"
                aria-pressed="true"
                aria-label={`${id}: remove from the chart`}
                onClick={() => onMetrics(metrics.filter((one) => one !== id))}
              >
                <SeriesMark slot={slot} />
                {id}{' '}
                <span class="x" aria-hidden="true">
                  ×
                </span>
              </button>
            ))}
            {index === 0 && (
              <AddMetric
                options={available.filter((one) => !metrics.includes(one))}
                onAdd={(metric) => onMetrics([...metrics, metric])}
              />
            )}
            <span class="grow" />
            {index === 0 && (
              <span class="dim no-phone">
                average with min and max ·{' '}
                {bucketMs === undefined ? '' : `${duration(bucketMs).replace('.0', '')} buckets · `}
                history
                {source === undefined ? '' : ` from ${source}`}
                {range.isLive ? ', then live' : ''}
              </span>
            )}
          </div>
          <Chart
            title={`${group.data.series.map(({ label }) => label).join(', ')} of ${deviceId}`}
            data={group.data}
            from={from}
            to={to}
            cursor={cursor}
            unit={group.unit}
            heightPx={index === 0 ? 258 : 120}
            thresholds={group.thresholds}
            holes={index === 0 ? holes : holes.map((hole) => ({ ...hole, label: '' }))}
            completeUntil={range.isLive && index === 0 ? completeUntil : undefined}
            liveUntil={range.isLive ? to : undefined}
            events={[...boots, ...(index === 0 ? holes.map((hole) => ({ at: hole.from, text: hole.label })) : [])]}
            states={(at) => {
              const text = statesAt(bands, at);
              return text === '' ? null : <p>{text}</p>;
            }}
            onZoom={range.zoom}
            onZoomBack={range.zoomBack}
            onPan={range.pan}
            onTwin={onTwin}
            leads={index === 0}
          />
          {index === 0 && <Bands bands={bands} from={from} to={to} cursor={cursor} />}
        </div>
      ))}
      {groups.length === 0 && (
        <div class="legend">
          <AddMetric options={available} onAdd={(metric) => onMetrics([...metrics, metric])} />
          <span class="dim">
            {available.length === 0 ? 'This device has sent no numbers yet.' : 'Choose a metric.'}
          </span>
        </div>
      )}
      <p class="dim sm only-phone">Average with min and max. Hatched: live, not stored yet.</p>
    </>
  );
}

const shownMax = 8;

function AddMetric({
  options,
  onAdd,
}: {
  readonly options: readonly string[];
  readonly onAdd: (metric: string) => void;
}) {
  if (options.length === 0) return null;
  return (
    <label class="chip choice">
      <Icon name="plus" />
      <select
        aria-label={`Add a metric; at most ${shownMax} are drawn`}
        value=""
        onChange={({ currentTarget }) => {
          onAdd(currentTarget.value);
          currentTarget.value = '';
        }}
      >
        <option value="" disabled hidden>
          Metric
        </option>
        {options.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  );
}
