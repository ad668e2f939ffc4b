import type { Signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { nearest } from '../../chart/chart-model.ts';
import { columnValue, decimalsOf, metricValue } from '../../format.ts';
import { type Column, type Sort, Table } from '../../table.tsx';
import { day, dayAndYear, hourAndMinute, timeOfDay, zoneName } from '../../times.ts';
import { type Line, type SeriesAnswer, partialAt } from './answer.ts';

interface Bucket {
  readonly at: number;
  readonly index: number;
}

const partialWords: Readonly<Record<string, string>> = {
  'bucket-cut': 'cut',
  running: 'running',
  incomplete: 'partial',
  'raw-expired': 'expired',
};

/** The answer as a table: a row for each bucket, newest first. Its row and the cursor of the chart are one selection. */
export function AnswerTable({
  answer,
  lines,
  bucketMs,
  cursor,
}: {
  readonly answer: SeriesAnswer;
  readonly lines: readonly Line[];
  readonly bucketMs: number | undefined;
  readonly cursor: Signal<number | undefined>;
}) {
  const [sort, setSort] = useState<Sort>({ column: 'bucket', descending: true });
  const t = answer.t ?? [];
  const inOrder = t.map((at, index): Bucket => ({ at, index }));
  const rows = sort.descending ? inOrder.toReversed() : inOrder;
  const columns: Column<Bucket>[] = [
    {
      id: 'bucket',
      label: `Bucket (${zoneName(t.at(-1) ?? Date.now())})`,
      width: 'minmax(112px, 1fr)',
      sortable: true,
      cell: ({ at }) => {
        const why = partialAt(answer, at, bucketMs);
        return (
          <span class="id">
            {bucketText(at, t, bucketMs)}
            {why !== undefined && <span class="warn"> {partialWords[why] ?? why}</span>}
          </span>
        );
      },
    },
    ...lines.flatMap((line): Column<Bucket>[] => {
      const decimals = usefulDecimals(line.values);
      const own: Column<Bucket> = {
        id: line.id,
        label: `${line.label}${line.unit === '' ? '' : ` ${line.unit}`}`,
        width: 'minmax(84px, 1fr)',
        numeric: true,
        cell: ({ index }) => cellText(line.values[index], decimals),
      };
      if (line.before === undefined) return [own];
      const difference: Column<Bucket> = {
        id: `${line.id} difference`,
        label: '± before',
        width: 'minmax(64px, 0.6fr)',
        numeric: true,
        cell: ({ index }) => {
          const now = line.values[index];
          const then = line.before![index];
          if (typeof now !== 'number' || typeof then !== 'number') return '—';
          const text = columnValue(now - then, decimals);
          return <span class="dim">{now >= then ? `+${text}` : text}</span>;
        },
      };
      return [own, difference];
    }),
  ];
  const at = cursor.value;
  const index = at === undefined ? undefined : nearest(t, at);
  return (
    <div class="twin">
      <Table
        label="Table of the answer"
        columns={columns}
        rows={rows}
        keyOf={(row) => String(row.at)}
        sort={sort}
        onSort={setSort}
        rowPx={26}
        heightPx={390}
        selected={index === undefined ? '' : String(t[index])}
        onSelect={(row) => (cursor.value = row.at)}
        empty="No readings in this range."
      />
    </div>
  );
}

function bucketText(at: number, t: readonly number[], bucketMs: number | undefined): string {
  const sameDay = dayAndYear(t[0]!) === dayAndYear(t.at(-1)!);
  if (bucketMs !== undefined && bucketMs >= 86_400_000) return dayAndYear(at);
  const time = bucketMs !== undefined && bucketMs % 60_000 === 0 ? hourAndMinute(at) : timeOfDay(at);
  return sameDay ? time : `${day(at)} ${time}`;
}

/** Averages have many digits: two are enough to compare, more where all values are small. */
function usefulDecimals(values: readonly unknown[]): number {
  const some = values.filter((value) => typeof value === 'number').slice(-200);
  const greatest = Math.max(0, ...some.map(Math.abs));
  return Math.min(decimalsOf(some), greatest >= 1_000 ? 0 : greatest >= 100 ? 1 : greatest >= 1 ? 2 : 4);
}

function cellText(value: unknown, decimals: number): string {
  if (value === null || value === undefined) return '—';
  return typeof value === 'number' && Math.abs(value) < 1e15 ? columnValue(value, decimals) : metricValue(value);
}
