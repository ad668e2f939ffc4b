/** The path of a sparkline of 60 points in a box, with a scale of its own; where it ends; and where a silence begins. */
export function sparkPath(
  points: readonly (number | null)[],
  widthPx: number,
  heightPx: number,
): { readonly line: string; readonly end: { readonly x: number; readonly y: number } | undefined } {
  const known = points.filter((value) => value !== null);
  if (known.length === 0) return { line: '', end: undefined };
  const low = Math.min(...known);
  const high = Math.max(...known);
  const x = (index: number) => Math.round((index / Math.max(1, points.length - 1)) * (widthPx - 4) * 10) / 10;
  const y = (value: number) =>
    Math.round((high === low ? heightPx / 2 : heightPx - 3 - ((value - low) / (high - low)) * (heightPx - 6)) * 10) /
    10;
  let line = '';
  let end: { x: number; y: number } | undefined;
  let isOpen = false;
  for (const [index, value] of points.entries()) {
    if (value === null) {
      isOpen = false;
      continue;
    }
    line += `${isOpen ? 'L' : 'M'}${x(index)} ${y(value)}`;
    isOpen = true;
    end = { x: x(index), y: y(value) };
  }
  return { line, end };
}
