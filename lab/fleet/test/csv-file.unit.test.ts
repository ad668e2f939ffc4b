import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { csvEpoch } from '@fleetwire/cli/transfer/csv-file';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type CsvReading, readCsv } from '../csv-file.ts';

const dataDirectory = new URL('../data/', import.meta.url).pathname;

async function fileWith(text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetwire-csv-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, 'device-1.csv');
  await writeFile(path, text);
  return path;
}

async function read(path: string, metric = 'value'): Promise<{ readings: CsvReading[]; badLines: [number, string][] }> {
  const badLines: [number, string][] = [];
  const readings: CsvReading[] = [];
  for await (const reading of readCsv(path, { metric, onBadLine: (line, reason) => badLines.push([line, reason]) }))
    readings.push(reading);
  return { readings, badLines };
}

describe('CSV file', () => {
  it('reads timestamps without an offset as UTC, and names metrics by the header', async () => {
    const { readings } = await read(
      await fileWith(
        'time,temperature,humidity\n2015-07-28 11:56:00,21.5,40\n2015-07-28T12:06:00.5+02:00,22,\n1438084560000,,41',
      ),
    );
    expect(readings).toEqual([
      { line: 2, ts: Date.UTC(2015, 6, 28, 11, 56), metrics: { temperature: 21.5, humidity: 40 } },
      { line: 3, ts: Date.UTC(2015, 6, 28, 10, 6, 0, 500), metrics: { temperature: 22 } },
      { line: 4, ts: 1_438_084_560_000, metrics: { humidity: 41 } },
    ]);
  });

  it('names the metric of a column called value by the option', async () => {
    const { readings } = await read(
      await fileWith('\uFEFFtimestamp,value\r\n2015-07-28 11:56:00,248\r\n'),
      'travel_time',
    );
    expect(readings).toMatchObject([{ line: 2, metrics: { travel_time: 248 } }]);
  });

  it('reports bad lines by their line number, and continues', async () => {
    const lines = [
      'timestamp,value',
      '2015-07-28 11:56:00,1',
      'yesterday,2',
      '',
      '2015-07-28 11:57:00,many',
      '2015-07-28 11:58:00',
      '2015-07-28 11:59:00,',
      '2015-07-28 12:00:00,NaN',
      '2015-07-28 12:01:00,9',
    ];
    const { readings, badLines } = await read(await fileWith(lines.join('\n')));
    expect(readings.map(({ line }) => line)).toEqual([2, 9]);
    expect(badLines).toEqual([
      [3, '"yesterday" is not a time'],
      [5, '"many" in column value is not a number'],
      [6, 'has 1 columns, the header has 2'],
      [7, 'has no values'],
      [8, '"NaN" in column value is not a number'],
    ]);
  });

  it.for([
    ['2015-07-28 11:56:00,1\n', 'needs a header; its first line is data'],
    ['timestamp\n', 'at least one metric column'],
    ['timestamp,a,a\n', 'two columns of the same name'],
    ['timestamp,a,\n', 'a column without a name'],
  ] as const)('refuses a header such as %j', async ([text, reason]) => {
    await expect(read(await fileWith(text))).rejects.toThrow(reason);
  });

  it('names a missing file in the error', async () => {
    await expect(read('/nowhere/device-1.csv')).rejects.toThrow('/nowhere/device-1.csv');
  });

  it('has an epoch that depends on its content only', async () => {
    const [one, same, other] = await Promise.all(['t,v\n1,1', 't,v\n1,1', 't,v\n1,2'].map(fileWith));
    expect(await csvEpoch(one!)).toBe(await csvEpoch(same!));
    expect(await csvEpoch(one!)).not.toBe(await csvEpoch(other!));
  });

  it('reads every data line of the bundled files, including repeated timestamps', async () => {
    const files = (await readdir(dataDirectory)).filter((name) => name.endsWith('.csv'));
    const counts: Record<string, number> = {};
    for (const file of files) {
      const { readings, badLines } = await read(join(dataDirectory, file));
      expect(badLines).toEqual([]);
      counts[file] = readings.length;
    }
    expect(counts).toEqual({
      'TravelTime_451.csv': 2_162,
      'ambient_temperature_system_failure.csv': 7_267,
      'machine_temperature_system_failure.csv': 22_695,
      'occupancy_6005.csv': 2_380,
      'speed_6005.csv': 2_500,
      'speed_7578.csv': 1_127,
    });
  });
});
