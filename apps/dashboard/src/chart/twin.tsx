import type { Signal } from '@preact/signals';
import { download } from '../download.ts';
import { metricValue } from '../format.ts';
import { Icon } from '../icons.tsx';
import { type Column, Table } from '../table.tsx';
import { zoneName } from '../times.ts';
import { type ChartData, bucketTime, chartCsv, decimalsFor, nearest } from './chart-model.ts';

interface Bucket {
  readonly at: number;
  readonly index: number;
}

/** The table of a chart: the same buckets in the same order; its row and the cursor of the chart are one selection. */
export function Twin({
  title,
  data,
  cursor,
  heightPx = 300,
}: {
  readonly title: string;
  readonly data: ChartData;
  readonly cursor: Signal<number | undefined>;
  readonly heightPx?: number;
}) {
  const rows: Bucket[] = data.t.map((at, index) => ({ at, index }));
  const columns: Column<Bucket>[] = [
    {
      id: 'time',
      label: `Time (${zoneName(data.t[0] ?? Date.now())})`,
      width: 'minmax(96px, 1fr)',
      cell: ({ at }) => <span class="id">{bucketTime(at, data.bucketMs)}</span>,
    },
    ...data.series.flatMap((line): Column<Bucket>[] => {
      const decimals = decimalsFor(line);
      const column = (id: string, label: string, values: readonly (number | null)[]): Column<Bucket> => ({
        id: `${line.id} ${id}`,
        label,
        width: 'minmax(72px, 1fr)',
        numeric: true,
        cell: ({ index }) => {
          const value = values[index];
          return typeof value === 'number' ? (
            <>
              {metricValue(value, decimals)} <span class="u">{line.unit}</span>
            </>
          ) : (
            '—'
          );
        },
      });
      return [
        column('avg', line.label, line.values),
        ...(line.min === undefined ? [] : [column('min', 'min', line.min)]),
        ...(line.max === undefined ? [] : [column('max', 'max', line.max)]),
      ];
    }),
  ];
  const at = cursor.value;
  const index = at === undefined ? undefined : nearest(data.t, at);
  return (
    <>
      <div class="h">
        <span>{rows.length} rows, the buckets of the chart</span>
        <span class="r">
          <button class="btn sm" type="button" onClick={() => download(`${title}.csv`, 'text/csv', chartCsv(data))}>
            <Icon name="save" />
            CSV
          </button>
        </span>
      </div>
      <Table
        label={`Table of ${title}`}
        columns={columns}
        rows={rows}
        keyOf={(row) => String(row.at)}
        rowPx={26}
        heightPx={heightPx}
        selected={index === undefined ? '' : String(data.t[index])}
        onSelect={(row) => (cursor.value = row.at)}
        empty="No readings in this range."
      />
    </>
  );
}
