import { expect, test } from 'vitest';
import {
  type ChartData,
  chartCsv,
  chartLabel,
  decimalsFor,
  eventsOf,
  nearest,
  spoken,
  spreadLabels,
} from '../src/chart/chart-model.ts';
import { viewer } from '../src/format.ts';
import { zone } from '../src/times.ts';

viewer.locale = 'en-GB';
zone.value = 'UTC';
const start = Date.parse('2026-11-21T13:00:00Z');
const data: ChartData = {
  t: [start, start + 20_000, start + 40_000, start + 60_000],
  bucketMs: 20_000,
  series: [
    {
      id: 'product',
      label: 'product',
      unit: '°C',
      slot: 0,
      values: [-18.1, -13.6, null, -18],
      min: [-18.4, -13.9, null, -18],
      max: [-18, -12.5, null, -18],
    },
  ],
};
const limit = { value: -15, label: 'limit −15 °C', side: 'above' } as const;
const plain = (text: string) => text.replaceAll('\u00a0', ' ');

test.each([
  [start - 5, 0],
  [start + 9_000, 0],
  [start + 11_000, 1],
  [start + 900_000, 3],
])('the bucket nearest to %d is %d', (at, index) => {
  expect(nearest(data.t, at)).toBe(index);
});

test('crossings of a threshold and other events are in one order', () => {
  expect(eventsOf(data, [limit], [{ at: start + 30_000, text: 'boot' }])).toEqual([
    { at: start + 20_000, text: 'product crosses limit −15 °C' },
    { at: start + 30_000, text: 'boot' },
    { at: start + 60_000, text: 'product is back within limit −15 °C' },
  ]);
});

test('the cursor says time, value, spread and the threshold', () => {
  expect(plain(spoken(data, 1, data.series[0], [limit]))).toBe(
    '13:00:20, product −13.6 °C, between −13.9 and −12.5, above limit −15 °C',
  );
  expect(spoken(data, 2, data.series[0], [limit])).toBe('13:00:40, product no reading');
});

test('the label of a chart names range, least and greatest value', () => {
  expect(plain(chartLabel('Temperatures', data))).toBe(
    'Temperatures, 13:00:00 to 13:01:00, product from −18.4 to −12.5 °C',
  );
});

test('averages have no more decimals than their spread needs', () => {
  expect(decimalsFor({ values: [21.123_456, 25.987_654] })).toBe(2);
  expect(decimalsFor({ values: [1, 2, 3] })).toBe(0);
  expect(decimalsFor({ values: [] })).toBe(0);
});

test('the CSV has every bucket with every digit', () => {
  expect(chartCsv(data).split('\r\n').slice(0, 4)).toEqual([
    'time,product (°C),product min (°C),product max (°C)',
    '2026-11-21T13:00:00.000Z,-18.1,-18.4,-18',
    '2026-11-21T13:00:20.000Z,-13.6,-13.9,-12.5',
    '2026-11-21T13:00:40.000Z,,,',
  ]);
});

test.each([
  ['apart they stay at the ends of their lines', [20, 60], [20, 60]],
  ['what is too near is moved down, in the order of the lines', [50, 48, 20], [61, 48, 20]],
  ['what would go over the end is moved up', [95, 98], [85, 98]],
  ['nothing goes over the top', [2, 5], [10, 23]],
] as const)('labels of lines: %s', (_, wanted, placed) => {
  expect(spreadLabels(wanted, 13, 10, 98)).toEqual(placed);
});
