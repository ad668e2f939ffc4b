import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { parseDeviceFrame } from '@fleetwire/contracts/device-protocol';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { figureTable, judge, median, percentile } from '../figure.ts';
import { cpuSecondsOf, peakResidentBytes, serverBehind, usageOf } from '../process-usage.ts';
import { textFrame } from '../raw-frame.ts';
import { figuresOf, summarise } from '../report.ts';
import { type Round, growthFigures, rateAround } from '../studies/growth.ts';
import { instancesFigures } from '../studies/instances.ts';
import { type PeersRun, peerFigures } from '../studies/peers.ts';
import type { Measurement } from '../studies/throughput.ts';
import { deviceIdOf, fleetReadings, frameText, metricsPerReading, readingAt } from '../workload.ts';

describe('workload', () => {
  it.for([1, 20])(
    'makes frames of %i readings that the platform accepts, with the same readings that the floors write',
    (count) => {
      const startTs = Date.now() - 3_600_000;
      const parsed = parseDeviceFrame(frameText(7, 41, count, startTs), Date.now());
      if (!parsed.ok || parsed.value.type !== 'telemetry') return expect.unreachable();
      const { seq, observations, issues } = parsed.value.telemetry;
      expect({ seq, issues, count: observations.length }).toEqual({ seq: 41, issues: [], count });
      for (const [index, observation] of observations.entries()) {
        const { ts, metrics } = readingAt(7, 41 + index, startTs);
        expect(observation).toEqual({ ts, metrics });
        expect(Object.keys(metrics)).toHaveLength(metricsPerReading);
      }
    },
  );

  it('yields every identity once, one frame of each device after the other', () => {
    const readings = fleetReadings(3, 2, 0);
    const identities = Array.from({ length: 12 }, () => readings.next().value).map(
      ({ deviceId, seq }) => `${deviceId}/${seq}`,
    );
    expect(identities.slice(0, 7)).toEqual(
      [0, 0, 1, 1, 2, 2, 0].map((device, index) => `${deviceIdOf(device)}/${index === 6 ? 3 : (index % 2) + 1}`),
    );
    expect(new Set(identities).size).toBe(12);
  });
});

describe('raw frames', () => {
  it.for([1, 125, 126, 65_535, 65_536, 100_000])(
    'of %i characters are received by a real WebSocket server',
    async (length) => {
      const server = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: 1_000_000 });
      await once(server, 'listening');
      const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
      onTestFinished(() => {
        client.terminate();
        server.close();
      });
      const upgraded = once(client, 'upgrade');
      const [socket] = (await once(server, 'connection')) as [WebSocket];
      const [{ socket: raw }] = (await upgraded) as [{ socket: Socket }];
      const text = 'x'.repeat(length);
      raw.write(textFrame(text));
      const [received] = await once(socket, 'message');
      expect(String(received)).toBe(text);
    },
  );
});

describe('figures', () => {
  it('are medians and percentiles by nearest rank', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(
      percentile(
        Array.from({ length: 100 }, (_, index) => index + 1),
        99,
      ),
    ).toBe(99);
    expect(percentile([], 99)).toBe(0);
  });
});

describe('summary', () => {
  const run = (readingsPerSecond: number, othersCpuShare: number): Measurement => ({
    readingsPerFrame: 20,
    readings: 100_000,
    readingsPerSecond,
    ackedPerSecond: readingsPerSecond,
    databaseFloor: 100_000,
    brokerFloor: 200_000,
    ofDatabaseFloor: readingsPerSecond / 100_000,
    ofBrokerFloor: readingsPerSecond / 200_000,
    readingsPerEnvelope: 400,
    batches: { envelopes: 1, transactions: 1 },
    othersCpuShare,
    processes: { postgres: { cpuSeconds: 2, memoryBytes: 1 } },
    latency: {
      readings: 100_000,
      readingsPerSecond,
      nackedReadings: 0,
      lateP99Ms: 1,
      ackP50Ms: 1,
      ackP99Ms: 2,
      ackP99WorstMs: 2,
      storedP50Ms: 3,
      storedP99Ms: 4,
      storedSamples: 5,
      batches: { envelopes: 1, transactions: 1 },
      othersCpuShare,
      processes: {},
    },
    references: { webSocket: { p50Ms: 0.1, p99Ms: 0.5 }, confirm: { p50Ms: 1, p99Ms: 1.5 }, othersCpuShare },
  });

  it('takes the medians of the undisturbed runs', () => {
    const summary = summarise([run(50_000, 0.02), run(90_000, 0.5), run(40_000, 0), run(45_000, 0.05)]);
    expect(summary).toMatchObject({ readingsPerSecond: 45_000, ofDatabaseFloor: 0.45 });
    expect(summary.processes['postgres']?.cpuSecondsPer100k).toBe(2);
  });

  it('judges the figures of a frame size by its goals', () => {
    const figures = figuresOf([run(60_000, 0), run(50_000, 0), run(80_000, 0)]);
    const judged = Object.fromEntries(figures.map((figure) => [figure.id.kind, judge(figure)]));
    expect(judged['throughputToDatabaseFloor']).toEqual({
      median: 0.6,
      least: 0.5,
      most: 0.8,
      runs: 3,
      undisturbedRuns: 3,
      verdict: 'bar',
    });
    const verdicts = Object.fromEntries(Object.entries(judged).map(([kind, { verdict }]) => [kind, verdict]));
    expect(verdicts).toMatchObject({
      ackP99AtThird: 'moonshot',
      storedP99AtThird: 'moonshot',
      ackP99AtThirdWorst: 'none',
      serviceCpuPerReading: 'none',
    });
  });

  it('divides the ack p99 by those of a bare WebSocket server and a bare confirm of the same run', () => {
    const figures = figuresOf([run(60_000, 0)]);
    const ratios = figures.flatMap(({ id, samples }) =>
      id.kind.startsWith('ackP99To') ? [[id.kind, samples[0]!.value]] : [],
    );
    expect(Object.fromEntries(ratios)).toEqual({
      ackP99ToBareWebSocket: 4,
      ackP99ToBareConfirm: 2 / 1.5,
      ackP99ToBothBare: 1,
    });
  });
});

describe('growth', () => {
  const fill = (rows: readonly number[], secondsOf: (rowsAfter: number) => number): Round[] =>
    rows.slice(1).map((rowsAfter, index) => ({
      rowsBefore: rows[index]!,
      rowsAfter,
      seconds: secondsOf(rowsAfter),
      othersCpuShare: rowsAfter > 15e6 && rowsAfter < 25e6 ? 0.2 : 0.02,
    }));
  const everyMillion = Array.from({ length: 34 }, (_, index) => 400_000 + index * 1e6);

  it('takes the rate of the rounds that overlap the window, without the warm-up', () => {
    const rounds = fill(everyMillion, (rowsAfter) => rowsAfter / 1e6);
    expect(rateAround(1e6, rounds)).toBeCloseTo(2e6 / (1.4 + 2.4));
    expect(rateAround(10e6, rounds)).toBeCloseTo(6e6 / (8.4 + 9.4 + 10.4 + 11.4 + 12.4 + 13.4));
  });

  it('is judged at the last mark, and by the size of all tables divided by all values', () => {
    const tables = [
      { table: 'readings_2026w47', heapBytes: 3e9, toastBytes: 0, indexBytes: 1e9 },
      { table: 'device_latest', heapBytes: 500e6, toastBytes: 9e6, indexBytes: 0 },
    ];
    const rounds = fill(everyMillion, (rowsAfter) => (rowsAfter < 20e6 ? 5 : 6));
    const [tenMillion, thirtyMillion, bytes] = growthFigures([
      { rounds, tables, rollups: { marked: 0, tiles: 900, readings: 30e6, seconds: 60 } },
    ]);
    expect(tenMillion!.samples[0]!.value).toBeCloseTo(1);
    expect(thirtyMillion!.samples[0]!.value).toBeCloseTo(5 / 6);
    expect(bytes!.samples[0]!.value).toBeCloseTo(4_509e6 / (33.4e6 * metricsPerReading));
    expect([tenMillion, thirtyMillion].map((figure) => judge(figure!).verdict)).toEqual(['none', 'bar']);
    expect(judge(bytes!).verdict).toBe('moonshot');
  });
});

describe('a second instance', () => {
  const measured = (readingsPerSecond: number, p99Ms: number, cpuSeconds: readonly number[]) => ({
    flood: {
      readings: 1e6,
      readingsPerSecond,
      ackedPerSecond: readingsPerSecond,
      readingsPerEnvelope: 400,
      batches: { envelopes: 1, transactions: 1 },
      othersCpuShare: 0.01,
      processes: Object.fromEntries(
        ['ingest-ws', 'persistence-worker', 'persistence-worker 2', 'postgres'].map((name, index) => [
          name,
          { cpuSeconds: cpuSeconds[index] ?? 0, memoryBytes: 0 },
        ]),
      ),
    },
    pace: {
      readings: 1e6,
      readingsPerSecond: 30_000,
      nackedReadings: 0,
      lateP99Ms: 1,
      ackP50Ms: 1,
      ackP99Ms: p99Ms,
      ackP99WorstMs: p99Ms,
      storedP50Ms: 1,
      storedP99Ms: 2 * p99Ms,
      storedSamples: 5,
      batches: { envelopes: 1, transactions: 1 },
      othersCpuShare: 0.02,
      processes: {},
    },
  });

  it('is compared with the mean of one instance of each, measured before and after it', () => {
    const figures = instancesFigures([
      {
        single: [measured(100_000, 10, [2, 2, 0, 9]), measured(140_000, 14, [2, 2, 0, 9])],
        'second worker': measured(108_000, 15, [2, 1, 1.2, 30]),
        'second ingest': measured(90_000, 12, [2, 2, 0, 9]),
      },
    ]);
    expect(figures.map(({ samples: [sample] }) => Number(sample!.value.toFixed(3)))).toEqual([
      0.9, 1.25, 1.25, 1.05, 0.75, 1, 1, 1, 1.4, 1.4, 1.4, 1,
    ]);
    const verdicts = figures.map((figure) => judge(figure).verdict);
    expect(verdicts.slice(0, 4)).toEqual(['bar', 'missed', 'missed', 'bar']);
    expect(verdicts.slice(4, 8)).toEqual(['missed', 'bar', 'bar', 'bar']);
    expect(verdicts.slice(8)).toEqual(['none', 'none', 'none', 'none']);
    expect(figures[0]!.samples[0]!.othersCpuShare).toBe(0.02);
  });
});

describe('the comparison with other pipelines', () => {
  const rate = (readingsPerSecond: number, othersCpuShare: number): PeersRun['nest'] => ({
    readings: 1_000,
    readingsPerSecond,
    ackedPerSecond: readingsPerSecond,
    othersCpuShare,
    processes: {},
  });

  it('divides within a run, and leaves out a run in which either pipeline was disturbed', () => {
    const runs: PeersRun[] = [
      { fleetwire: rate(60_000, 0), nest: rate(5_000, 0), rest: rate(3_000, 0) },
      { fleetwire: rate(90_000, 0), nest: rate(10_000, 0.01), rest: rate(3_000, 0.5) },
      { fleetwire: rate(99_000, 0), nest: rate(1_000, 0.5), rest: rate(2_000, 0) },
    ];
    const judged = peerFigures(runs).map((figure) => ({ name: figure.name, ...judge(figure) }));
    expect(judged).toMatchObject([
      { median: 90_000, undisturbedRuns: 3 },
      { median: 5_000, undisturbedRuns: 2 },
      { median: 2_000, undisturbedRuns: 2 },
      { name: 'Fleetwire ÷ NestJS → RabbitMQ → TypeORM', median: 9, undisturbedRuns: 2, verdict: 'missed' },
      { name: 'Fleetwire ÷ socket → REST → row', median: 20, undisturbedRuns: 2, verdict: 'none' },
    ]);
  });
});

describe('a judgement', () => {
  const figure = (direction: 'at least' | 'at most', values: readonly number[], othersCpuShare = 0) => ({
    id: { kind: 'latency' },
    name: 'latency',
    unit: 'ms',
    goal: { direction, bar: 10, moonshot: direction === 'at least' ? 20 : 5 },
    samples: values.map((value) => ({ value, othersCpuShare })),
  });

  it.for([
    ['at least', 9, 'missed'],
    ['at least', 10, 'bar'],
    ['at least', 20, 'moonshot'],
    ['at most', 11, 'missed'],
    ['at most', 10, 'bar'],
    ['at most', 5, 'moonshot'],
  ] as const)('%s 10: %d is %s', ([direction, value, verdict]) => {
    expect(judge(figure(direction, [value])).verdict).toBe(verdict);
  });

  it('is neither reached nor missed when every run was disturbed', () => {
    expect(judge(figure('at least', [90, 10], 0.4)).verdict).toBe('disturbed');
  });

  it('stands in the table beside its goal', () => {
    expect(figureTable([figure('at most', [7, 6, 8])]).split('\n')[1]).toMatch(
      /^latency +7\.00 ms +6\.00 to 8\.00 +3 of 3 +≤ 10 +5 +bar$/,
    );
  });
});

describe.runIf(process.platform === 'linux')('process usage', () => {
  it('counts the CPU time and memory of this process', async () => {
    const before = await usageOf(process.pid);
    const used = process.cpuUsage();
    // The kernel counts in ticks of 10 ms.
    while (process.cpuUsage(used).user < 100_000);
    expect((await usageOf(process.pid)).cpuSeconds - before.cpuSeconds).toBeGreaterThan(0.05);
    expect(await cpuSecondsOf([process.pid, process.pid])).toBeLessThan(2 * (await cpuSecondsOf([process.pid])));
    expect(await peakResidentBytes(process.pid)).toBeGreaterThan(10_000_000);
  });

  it('finds the process behind a port', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => server.close());
    await once(server, 'listening');
    expect(await serverBehind(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)).toBe(process.pid);
  });
});
