import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { startDeviceClient } from '../../fleet/device-client.ts';
import { median, percentile } from '../figure.ts';
import { startLoad } from '../load.ts';
import { watchMemory } from '../memory-watch.ts';
import { BenchPlatform } from '../platform.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { measureRuns } from './runs.ts';

const readingsPerSecond = 10_000;
const watcherCounts = [1, 100, 1_000] as const;
const stalledWatchers = 50;
const probeId = 'live-probe';
const storedProbeId = 'stored-probe';
const probeIntervalMs = 100;
const env = { CONNECTIONS_PER_SUBJECT_MAX: '5000', SUBSCRIPTIONS_PER_CALLER_MAX: '5000' };
const mebibyte = 1024 * 1024;

interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

type Measured = Awaited<ReturnType<typeof measure>>;

/**
 * From a device's frame to its subscribers, while a fleet sends 10,000 readings a second: on the device's instance and on another one, with 1,
 * 100 and 1,000 subscribers of one device; then with 50 subscribers of everything that do not read. Before that, from a frame to `stored`.
 */
export async function studyLive(context: StudyContext): Promise<StudyResult> {
  const latencies = watcherCounts.flatMap((watchers) =>
    (['same', 'other'] as const).flatMap((instance) => [
      {
        id: { kind: 'liveP50', watchers, instance },
        name: `frame to subscriber, ${watchers} on ${instance === 'same' ? 'the same' : 'another'} instance, p50`,
        unit: 'ms',
        valueOf: (measured: Measured) => measured.latencies[`${watchers} ${instance}`]!.p50Ms,
      },
      {
        id: { kind: 'liveP99', watchers, instance },
        name: '  p99',
        unit: 'ms',
        goal: { direction: 'at most', bar: 250, moonshot: 50 } as const,
        valueOf: (measured: Measured) => measured.latencies[`${watchers} ${instance}`]!.p99Ms,
      },
    ]),
  );
  return measureRuns(context, measure, [
    ...latencies,
    {
      id: { kind: 'frameToStoredP50' },
      name: 'frame to stored, for a device with acks=stored, p50',
      unit: 'ms',
      valueOf: ({ stored }) => stored.p50Ms,
    },
    {
      id: { kind: 'frameToStoredP99' },
      name: '  p99',
      unit: 'ms',
      goal: { direction: 'at most', bar: 250 },
      valueOf: ({ stored }) => stored.p99Ms,
    },
    {
      id: { kind: 'liveIdleCost' },
      name: 'CPU time of ingest-ws for a reading, without subscriptions',
      unit: 'µs',
      valueOf: ({ idleMicroseconds }) => idleMicroseconds,
    },
    {
      id: { kind: 'liveStalledP99' },
      name: `frame to subscriber beside ${stalledWatchers} that do not read, p99`,
      unit: 'ms',
      goal: { direction: 'at most', bar: 250, moonshot: 50 },
      valueOf: ({ stalled }) => stalled.p99Ms,
    },
    {
      id: { kind: 'liveStalledGrowth' },
      name: '  memory of ingest-ws, last quarter against the second',
      unit: 'MiB',
      valueOf: ({ stalled }) => stalled.growthMiB,
    },
  ]);
}

async function measure(context: StudyContext) {
  const { devices, seconds } = context.settings;
  await using platform = await BenchPlatform.start(context, { name: 'live', ingests: 2, apis: 1, env });
  await using load = startLoad();
  const [same, other] = platform.webSocketUrls as [string, string];
  // The fleet is on the instance of the probe, so that all of its load is on the way that is measured.
  await load.request({
    type: 'connect',
    urls: [same],
    tokens: await platform.tokens(devices),
    readingsPerFrame: 20,
    startTs: Date.now() - 3_600_000,
  });
  await load.request({ type: 'pace', seconds: 1, readingsPerSecond });

  const meter = await platform.meter({ 'load generator': load.pid });
  const idle = await load.request({ type: 'pace', seconds, readingsPerSecond });
  const { processes, othersCpuShare } = await meter.stop();
  const shares = [othersCpuShare];
  const underLoad = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    const around = await platform.meter({ 'load generator': load.pid });
    const [result] = await Promise.all([
      work(),
      load.request({ type: 'pace', seconds: seconds + 1, readingsPerSecond }),
    ]);
    shares.push((await around.stop()).othersCpuShare);
    return result;
  };

  const token = await platform.roleToken('bench', 'analyst');
  const probe = startDeviceClient({ url: same, deviceId: probeId, token: await platform.tokenOf(probeId) });
  try {
    const storedToken = await platform.tokenOf(storedProbeId);
    const stored = await underLoad(() => storedLatency(same, storedToken, seconds));
    const latencies: Record<string, Latency> = {};
    for (const watchers of watcherCounts) {
      for (const [instance, url] of [
        ['same', same],
        ['other', other],
      ] as const) {
        const watching = await openWatchers(url, token, watchers);
        latencies[`${watchers} ${instance}`] = await underLoad(() => probeLatency(probe, watching, seconds));
        watching.close();
      }
    }
    const stalling = await openWatchers(other, token, stalledWatchers, { pattern: '*' });
    for (const socket of stalling.sockets) socket.pause();
    const healthy = await openWatchers(other, token, 1);
    const memory: number[] = [];
    const stalledLatency = await underLoad(async () => {
      let latency: Latency | undefined;
      memory.push(
        ...(await watchMemory([platform.ingests[1]!.pid], async () => {
          latency = await probeLatency(probe, healthy, seconds);
        })),
      );
      return latency!;
    });
    stalling.close();
    healthy.close();
    const quarter = Math.max(1, Math.floor(memory.length / 4));
    const growth = median(memory.slice(-quarter)) - median(memory.slice(quarter, 2 * quarter));
    return {
      latencies,
      stored,
      idleMicroseconds: (processes['ingest-ws']!.cpuSeconds / idle.readings) * 1e6,
      stalled: { ...stalledLatency, growthMiB: growth / mebibyte },
      othersCpuShare: Math.max(...shares),
    };
  } finally {
    await probe.stop({ settleTimeoutMs: 1_000 });
  }
}

interface Watching {
  readonly sockets: readonly WebSocket[];
  /** Milliseconds from the frame to the message, of every reading and subscriber since the last call. */
  take(): number[];
  close(): void;
}

async function openWatchers(
  url: string,
  token: string,
  count: number,
  filter: object = { devices: [probeId], metrics: ['sentAt'] },
): Promise<Watching> {
  let samples: number[] = [];
  const open = async (): Promise<WebSocket> => {
    const socket = new WebSocket(url, 'fleetwire.v1.json', { headers: { authorization: `Bearer ${token}` } });
    const subscribed = Promise.withResolvers<void>();
    socket.on('error', () => {});
    socket.on('close', () => subscribed.reject(new Error('a subscriber was closed')));
    subscribed.promise.catch(() => {});
    socket.on('open', () => socket.send(JSON.stringify({ type: 'subscribe', id: 's', ...filter })));
    socket.on('message', (data: Buffer) => {
      const now = nowMs();
      const message = JSON.parse(data.toString('utf8')) as {
        type: string;
        readings: { metrics: { sentAt: number } }[];
      };
      if (message.type === 'subscribed') subscribed.resolve();
      if (message.type === 'data_update')
        for (const { metrics } of message.readings) samples.push(now - metrics.sentAt);
    });
    await subscribed.promise;
    return socket;
  };
  const sockets: WebSocket[] = [];
  for (let opened = 0; opened < count; opened += 50)
    sockets.push(...(await Promise.all(Array.from({ length: Math.min(50, count - opened) }, open))));
  return {
    sockets,
    take: () => {
      const taken = samples;
      samples = [];
      return taken;
    },
    close: () => {
      for (const socket of sockets) socket.terminate();
    },
  };
}

async function probeLatency(
  probe: ReturnType<typeof startDeviceClient>,
  watching: Watching,
  seconds: number,
): Promise<Latency> {
  // The first second is the interest on its way, and a warm path.
  let samples: number[] = [];
  const startedAt = performance.now();
  let isWarm = false;
  while (performance.now() - startedAt < (seconds + 1) * 1_000) {
    if (!isWarm && performance.now() - startedAt > 1_000) {
      isWarm = true;
      watching.take();
    }
    probe.send({ ts: Date.now(), metrics: { sentAt: nowMs() } });
    await sleep(probeIntervalMs);
  }
  await sleep(200);
  samples = watching.take();
  if (samples.length === 0) throw new Error('no subscriber received anything');
  return { p50Ms: percentile(samples, 50), p99Ms: percentile(samples, 99) };
}

/** From each frame of a device to the `stored` message that covers it. */
async function storedLatency(url: string, token: string, seconds: number): Promise<Latency> {
  const socket = new WebSocket(`${url}?epoch=boot&acks=stored`, 'fleetwire.v1.json', {
    headers: { authorization: `Bearer ${token}` },
  });
  const sentAt: number[] = [];
  const samples: number[] = [];
  const greeted = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const frames = Math.floor((seconds * 1_000) / probeIntervalMs);
  socket.on('error', greeted.reject);
  socket.on('close', () => ended.reject(new Error('the socket of the device was closed')));
  ended.promise.catch(() => {});
  socket.on('message', (data: Buffer) => {
    const message = JSON.parse(data.toString('utf8')) as { type: string; upTo?: number; acks?: string };
    if (message.type === 'hello' && message.acks === 'stored') greeted.resolve();
    if (message.type === 'hello' && message.acks !== 'stored')
      greeted.reject(new Error('the edge does not say stored'));
    if (message.type !== 'stored') return;
    while (samples.length < message.upTo!) samples.push(nowMs() - sentAt[samples.length]!);
    if (samples.length === frames) ended.resolve();
  });
  await greeted.promise;
  for (let seq = 1; seq <= frames; seq += 1) {
    sentAt.push(nowMs());
    socket.send(JSON.stringify({ type: 'telemetry', seq, ts: Date.now(), metrics: { seq } }));
    await sleep(probeIntervalMs);
  }
  await ended.promise;
  socket.terminate();
  return { p50Ms: percentile(samples, 50), p99Ms: percentile(samples, 99) };
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
