/** `[time, value]` */
export type Point = readonly [number, number];

/**
 * Chooses at most `pointsMax` points, of which a line looks like that of all: the first, the last, and of each part between them the one
 * that makes the largest triangle with the point chosen before and the mean of the next part (Steinarsson 2013).
 * @param points in the order of their times
 */
export function largestTriangles(points: readonly Point[], pointsMax: number): readonly Point[] {
  if (points.length <= pointsMax) return points;
  const partLength = (points.length - 2) / (pointsMax - 2);
  const startOf = (part: number) => Math.floor(part * partLength) + 1;
  const chosen: Point[] = [points[0]!];
  for (let part = 0; part < pointsMax - 2; part += 1) {
    const next = points.slice(startOf(part + 1), Math.min(startOf(part + 2), points.length));
    const mean = meanOf(next.length === 0 ? points.slice(-1) : next);
    chosen.push(largest(points.slice(startOf(part), startOf(part + 1)), chosen.at(-1)!, mean));
  }
  return [...chosen, points.at(-1)!];
}

function largest(candidates: readonly Point[], before: Point, after: Point): Point {
  let best = candidates[0]!;
  let bestArea = -1;
  for (const point of candidates) {
    const area = Math.abs(
      (before[0] - after[0]) * (point[1] - before[1]) - (before[0] - point[0]) * (after[1] - before[1]),
    );
    if (area > bestArea) [best, bestArea] = [point, area];
  }
  return best;
}

function meanOf(points: readonly Point[]): Point {
  const total = points.reduce<Point>(([t, v], [time, value]) => [t + time, v + value / points.length], [0, 0]);
  return [total[0] / points.length, total[1]];
}
