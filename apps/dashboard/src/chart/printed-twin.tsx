import { serverNow } from '../clock.ts';
import { metricValue, plural } from '../format.ts';
import { dayAndYear, moment, span, zoneWithOffset } from '../times.ts';
import { type ChartData, bucketTime, decimalsFor } from './chart-model.ts';

const rowsMax = 40;

/** Paper has no cursor: below a printed chart stand its range, when it was printed, and the first rows of its table. */
export function PrintedTwin({
  title,
  data: { t, series, bucketMs },
  from,
  to,
}: {
  readonly title: string;
  readonly data: ChartData;
  readonly from: number;
  readonly to: number;
}) {
  const now = serverNow();
  const rows = t.slice(0, rowsMax);
  const columns = series.flatMap((line) => {
    const { id, label, unit, values, min, max } = line;
    const shared = { unit, decimals: decimalsFor(line) };
    return [
      { ...shared, key: id, label, values },
      ...(min === undefined ? [] : [{ ...shared, key: `${id} min`, label: 'min', values: min }]),
      ...(max === undefined ? [] : [{ ...shared, key: `${id} max`, label: 'max', values: max }]),
    ];
  });
  return (
    <table class="printed">
      <caption>
        {title}, {dayAndYear(from)}, {span(from, to)} {zoneWithOffset(to)}; printed {moment(now, now)}
        {t.length > rowsMax && `; the first ${rowsMax} of ${plural(t.length, 'row')}`}
      </caption>
      <thead>
        <tr>
          <th>Time</th>
          {columns.map(({ key, label, unit }) => (
            <th key={key} class="num">
              {label} {unit}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((at, index) => (
          <tr key={at}>
            <td class="id">{bucketTime(at, bucketMs)}</td>
            {columns.map(({ key, values, decimals }) => {
              const value = values[index];
              return (
                <td key={key} class="num">
                  {typeof value === 'number' ? metricValue(value, decimals) : '—'}
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
