/** The slope of the line with the least squares. */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  const over = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  return over / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
}

/** How many readings a message of the live socket has. */
export function readingsIn(payload: string): number {
  if (!payload.includes('"data_update"')) return 0;
  return (JSON.parse(payload) as { readonly readings: readonly unknown[] }).readings.length;
}
