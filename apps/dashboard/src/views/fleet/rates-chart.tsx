import type { components } from '@fleetwire/client/openapi';
import { type Signal, useComputed, useSignal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { Area } from '../../area.tsx';
import { Chart, SeriesMark } from '../../chart/chart.tsx';
import type { ChartData } from '../../chart/chart-model.ts';
import { now } from '../../clock.ts';
import { rate } from '../../format.ts';
import { installation } from '../../installation.ts';

const hourMs = 3_600_000;
const minuteMs = 60_000;

/** Readings per second in the last hour: received, and of these stored, by minute of arrival. What lies between is not stored yet. */
export function RatesChart() {
  const cursor = useSignal<number | undefined>(undefined);
  const minuteNow = useComputed(() => Math.floor(now.value / minuteMs) * minuteMs);
  const ledger = installation.value?.ledger;
  if (ledger === undefined) return null;
  // The minute that runs is not whole: its rate would look like a fall.
  const to = minuteNow.value;
  return (
    <Area
      title="Readings/s, last hour"
      resource={ledger}
      staleMs={minuteMs}
      right={
        <span class="key">
          <SeriesMark slot={1} />
          in <SeriesMark slot={0} />
          stored
        </span>
      }
    >
      {(report) => <Rates minutes={report?.data} to={to} cursor={cursor} />}
    </Area>
  );
}

type Minutes = components['schemas']['ReconciliationReport']['data'];

/** Drawn again when its minutes have changed. */
function Rates({
  minutes: reported,
  to,
  cursor,
}: {
  readonly minutes: Minutes | undefined;
  readonly to: number;
  readonly cursor: Signal<number | undefined>;
}) {
  const { data, last } = useMemo(() => {
    const byMinute = new Map((reported ?? []).map((one) => [Date.parse(one.minute), one]));
    // A minute without a reading is not in the report.
    const minutes =
      reported === undefined
        ? []
        : Array.from({ length: 60 }, (_, index) => to - hourMs + index * minuteMs).map((at) => ({
            at,
            received: 0,
            stored: 0,
            duplicate: 0,
            ...byMinute.get(at),
          }));
    const newest = minutes.at(-1);
    const chart: ChartData = {
      t: minutes.map(({ at }) => at),
      bucketMs: minuteMs,
      series: [
        {
          id: 'in',
          label: 'in',
          end: `in ${rate((newest?.received ?? 0) / 60)}`,
          unit: '/s',
          slot: 1,
          values: minutes.map(({ received }) => received / 60),
          fillTo: 'stored',
        },
        {
          id: 'stored',
          label: 'stored',
          end: `stored ${rate(((newest?.stored ?? 0) + (newest?.duplicate ?? 0)) / 60)}`,
          unit: '/s',
          slot: 0,
          values: minutes.map(({ stored, duplicate }) => (stored + duplicate) / 60),
        },
      ],
    };
    return { data: chart, last: newest };
  }, [reported, to]);
  return (
    <>
      <Chart
        title="Readings per second, received and of these stored, by minute of arrival"
        data={data}
        from={to - hourMs}
        to={to}
        cursor={cursor}
        heightPx={208}
        fromZero
        ends="inside"
      />
      <p class="dim sm0">
        {last === undefined ? '' : `by minute of arrival · ${rate(last.received / 60)}/s in the last whole minute`}
      </p>
    </>
  );
}
