import type { SeriesRow } from '@fleetwire/store/series/series-query';
import { isoTime } from '../time-range.ts';
import type { Group } from './groups.ts';
import { largestTriangles, type Point } from './lttb.ts';
import type { Question } from './question.ts';

interface Found {
  readonly question: Pick<Question, 'metrics' | 'layout'>;
  readonly groups: readonly Group[];
  readonly rows: readonly SeriesRow[];
  readonly listedEmpty: ReadonlySet<string>;
}

/** Of each series at most `chosenMax` stored values, each with its own time: MinMaxLTTB, over the least and greatest value of each bin. */
export function chosenValues({ question, groups, rows, listedEmpty }: Found, chosenMax: number): object {
  const bySeries = Map.groupBy(rows, ({ group, metric }) => `${group}/${metric}`);
  const series = groups.flatMap((group) =>
    question.metrics.flatMap((metric, index) => {
      const own = bySeries.get(`${group.number}/${index}`);
      if (own === undefined && !listedEmpty.has(metric)) return [];
      const inOrder = (own ?? []).toSorted((a, b) => a.bucket - b.bucket);
      return [{ name: { ...group.name, metric }, points: largestTriangles(extremesOf(inOrder), chosenMax) }];
    }),
  );
  if (question.layout === 'rows')
    return {
      rows: series.flatMap(({ name, points }) => points.map(([time, value]) => ({ t: isoTime(time), ...name, value }))),
    };
  return {
    series: series.map(({ name, points }) => ({
      ...name,
      t: points.map(([time]) => time),
      value: points.map(([, value]) => value),
    })),
  };
}

/** In the order of time, with the first and the last value of all. */
function extremesOf(rows: readonly SeriesRow[]): Point[] {
  const points = new Map<string, Point>();
  const known = rows.filter(({ m4Min }) => m4Min !== null && m4Min !== undefined);
  const add = (one: readonly [number, number] | null | undefined) => one && points.set(one.join(), [one[1], one[0]]);
  for (const { m4Min, m4Max } of known) {
    add(m4Min);
    add(m4Max);
  }
  add(known[0]?.m4First);
  add(known.at(-1)?.m4Last);
  return [...points.values()].sort(([a], [b]) => a - b);
}
