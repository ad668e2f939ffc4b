import { fork } from 'node:child_process';
import { once } from 'node:events';
import { measureConfirmLatency } from './broker-floor.ts';
import { freshPlace } from './fresh.ts';
import { endChild, startLoad } from './load.ts';
import type { LoadResult } from './load-messages.ts';
import type { Pace } from './loaded-platform.ts';
import { median } from './figure.ts';
import { forwardersOf } from './platform.ts';
import { serverBehind } from './process-usage.ts';
import type { StudyContext } from './study.ts';
import { startUsageMeter } from './usage-meter.ts';

interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What the two halves of an ack take on this machine when nothing else runs, at the load of the platform. */
export interface AckReferences {
  /** A bare `ws` server that acknowledges each frame without parsing it: same sockets, frames and rate. */
  readonly webSocket: Latency;
  /** A bare publisher confirm on the quorum queue: same envelopes and rate, no consumer. */
  readonly confirm: Latency;
  readonly othersCpuShare: number;
}

/** Each 99th percentile is the median of these stretches, as that of the platform is. */
const stretches = 3;
const stretchSeconds = 1;

/** @param pace what the platform did at this load, in the same run */
export async function measureAckReferences(
  context: StudyContext,
  pace: Pace,
  readingsPerFrame: number,
): Promise<AckReferences> {
  const webSocket = await measureBareServer(context, pace, readingsPerFrame);
  const confirm = await measureBareConfirm(context, pace, readingsPerFrame);
  return {
    webSocket: webSocket.latency,
    confirm: confirm.latency,
    othersCpuShare: Math.max(webSocket.othersCpuShare, confirm.othersCpuShare),
  };
}

interface Measured {
  readonly latency: Latency;
  readonly othersCpuShare: number;
}

async function measureBareServer(
  { settings }: StudyContext,
  { readingsPerSecond }: Pace,
  readingsPerFrame: number,
): Promise<Measured> {
  await using server = await startBareServer(readingsPerFrame);
  await using load = startLoad();
  await load.request({
    type: 'connect',
    urls: [server.url],
    tokens: Array.from({ length: settings.devices }, () => 'none'),
    readingsPerFrame,
    startTs: Date.now(),
  });
  const stretch = { type: 'pace', seconds: stretchSeconds, readingsPerSecond } as const;
  // Warms up both processes.
  await load.request(stretch);
  const meter = await startUsageMeter({ 'bare server': server.pid, 'load generator': load.pid }, []);
  const results: LoadResult[] = [];
  for (let at = 0; at < stretches; at += 1) results.push(await load.request(stretch));
  const { othersCpuShare } = await meter.stop();
  await load.request({ type: 'disconnect' });
  const latency = {
    p50Ms: median(results.map(({ ackP50Ms }) => ackP50Ms)),
    p99Ms: median(results.map(({ ackP99Ms }) => ackP99Ms)),
  };
  return { latency, othersCpuShare };
}

async function measureBareConfirm(
  { services, settings: { devices }, logger }: StudyContext,
  { readings, readingsPerSecond, batches }: Pace,
  readingsPerFrame: number,
): Promise<Measured> {
  const readingsPerEnvelope = Math.max(1, Math.round(readings / batches.envelopes));
  await using place = await freshPlace(services);
  const meter = await startUsageMeter({ rabbitmq: await serverBehind(services.amqpUrl) }, await forwardersOf(services));
  const latencies = await measureConfirmLatency(place.amqpUrl, {
    devices,
    readingsPerFrame,
    readingsPerEnvelope,
    messagesPerSecond: readingsPerSecond / readingsPerEnvelope,
    stretches,
    stretchSeconds,
    logger,
  });
  const { othersCpuShare } = await meter.stop();
  const latency = {
    p50Ms: median(latencies.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(latencies.map(({ p99Ms }) => p99Ms)),
  };
  return { latency, othersCpuShare };
}

async function startBareServer(
  readingsPerFrame: number,
): Promise<AsyncDisposable & { readonly pid: number; readonly url: string }> {
  const child = fork(new URL('bare-server-main.ts', import.meta.url), [String(readingsPerFrame)]);
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the bare WebSocket server has exited')));
  const [port] = (await Promise.race([once(child, 'message'), ended])) as [number];
  return {
    pid: child.pid!,
    url: `ws://127.0.0.1:${port}/ws`,
    [Symbol.asyncDispose]: () => endChild(child),
  };
}
