import { describe, expect, it } from 'vitest';
import { CsvColumns } from '../src/transfer/csv-readings.ts';

const identity = ['deviceId', 'ts', 'epoch', 'seq', 'receivedAt'];
const row = ['a', '2026-01-01T00:00:00Z', 'e', '1', '2026-01-01T00:00:01Z'];
const metricsOf = (columns: CsvColumns, cells: readonly (string | undefined)[]) =>
  (columns.read({ line: 2, cells }) as { metrics: object }).metrics;

describe('a table with the columns metric, value and text', () => {
  it('is in the long layout where its header is that of such an export', () => {
    const columns = new CsvColumns([...identity, 'metric', 'value', 'text']);
    expect(metricsOf(columns, [...row, 'flow', '2', undefined])).toEqual({ flow: 2 });
  });

  it('has three metrics with any other header, or where it is said to be wide', () => {
    const three = { metric: 'flow', value: 2, text: 'x' };
    expect(metricsOf(new CsvColumns([...identity, 'metric', 'text', 'value']), [...row, 'flow', 'x', '2'])).toEqual(
      three,
    );
    expect(metricsOf(new CsvColumns(['ts', 'metric', 'value', 'text']), [row[1], 'flow', '2', 'x'])).toEqual(three);
    const said = new CsvColumns([...identity, 'metric', 'value', 'text'], 'wide');
    expect(metricsOf(said, [...row, 'flow', '2', 'x'])).toEqual(three);
  });

  it('is in the long layout where it is said to be, whatever the order of its columns', () => {
    const columns = new CsvColumns(['text', 'value', 'metric', 'ts'], 'long');
    expect(metricsOf(columns, [undefined, '2', 'flow', row[1]])).toEqual({ flow: 2 });
    expect(metricsOf(columns, ['on', undefined, 'mode', row[1]])).toEqual({ mode: 'on' });
    expect(() => new CsvColumns(['ts', 'flow'], 'long')).toThrow('the long layout has the columns metric, value, text');
    expect(() => new CsvColumns(['ts', 'value'], 'long')).toThrow('the header has ts, value');
  });
});
