import { type RecordableHistogram, createHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LoadAnswer, LoadRequest, LoadResult, ReturnResult } from './load-messages.ts';
import { LoadSocket, microseconds } from './load-socket.ts';
import { percentile } from './figure.ts';

// A process of its own: the bench starts it and exchanges messages with it.

const concurrentConnects = 50;
const tickMs = 2;
const settleTimeoutMs = 60_000;

let sockets: LoadSocket[] = [];
let readingsPerFrame = 1;
let onAck: (socket: LoadSocket) => void = () => {};
let failed: (error: Error) => void = () => {};
const latency = createHistogram();
/** How long after its due time each paced frame was sent. */
const lateness = createHistogram();

process.on('message', (request: LoadRequest) => {
  const failure = new Promise<never>((_, reject) => (failed = reject));
  Promise.race([perform(request), failure]).then(
    (result) => answer({ type: 'done', result }),
    (error: Error) => answer({ type: 'failed', message: error.message }),
  );
});

function answer(message: LoadAnswer): void {
  process.send?.(message);
}

async function perform(request: LoadRequest): Promise<LoadResult | ReturnResult> {
  latency.reset();
  lateness.reset();
  switch (request.type) {
    case 'connect':
      await connect(request);
      return result(0, 0, 0);
    case 'flood':
      return flood(request.seconds, Math.max(1, Math.floor(request.readingsInFlight / readingsPerFrame)));
    case 'pace':
      return pace(request.seconds, request.readingsPerSecond / readingsPerFrame);
    case 'return':
      return reconnected();
    case 'disconnect':
      await Promise.all(sockets.map((socket) => socket.close()));
      sockets = [];
      return result(0, 0, 0);
  }
}

async function connect({
  urls,
  tokens,
  startTs,
  returnWithinMs,
  ...request
}: Extract<LoadRequest, { type: 'connect' }>): Promise<void> {
  readingsPerFrame = request.readingsPerFrame;
  const returnDelayMs = returnWithinMs === undefined ? undefined : returnDelays(returnWithinMs);
  for (let first = 0; first < tokens.length; first += concurrentConnects) {
    const group = tokens.slice(first, first + concurrentConnects).map(
      (token, index) =>
        new LoadSocket({
          url: urls[(first + index) % urls.length]!,
          token,
          device: first + index,
          readingsPerFrame,
          startTs,
          returnDelayMs,
          latency,
          onAck: (socket) => onAck(socket),
          onFailure: (error) => failed(error),
        }),
    );
    await Promise.all(group.map((socket) => socket.opened()));
    sockets.push(...group);
  }
}

/** Many sockets are dropped at the same moment, but their close events arrive one after the other: all delays count from the first. */
function returnDelays(withinMs: number): () => number {
  let droppedAt: number | undefined;
  return () => {
    const now = performance.now();
    droppedAt ??= now;
    return Math.max(0, droppedAt + Math.random() * withinMs - now);
  };
}

async function flood(seconds: number, framesInFlight: number): Promise<LoadResult> {
  const startedAt = epochNow();
  const endsAt = performance.now() + seconds * 1_000;
  let frames = 0;
  const refill = (socket: LoadSocket): void => {
    const now = performance.now();
    const room = framesInFlight - socket.framesInFlight;
    if (now >= endsAt || room <= 0) return;
    socket.send(room);
    frames += room;
  };
  onAck = refill;
  for (const socket of sockets) refill(socket);
  await sleep(seconds * 1_000);
  await settled();
  return result(frames, startedAt, nackedReadings());
}

async function pace(seconds: number, framesPerSecond: number): Promise<LoadResult> {
  onAck = () => {};
  const startedAt = epochNow();
  const start = performance.now();
  const total = Math.floor(seconds * framesPerSecond);
  for (let frame = 0; frame < total;) {
    const due = Math.min(total, ((performance.now() - start) / 1_000) * framesPerSecond);
    for (; frame < due; frame += 1) {
      const dueAt = start + (frame / framesPerSecond) * 1_000;
      lateness.record(microseconds(performance.now() - dueAt));
      sockets[frame % sockets.length]!.send(1);
    }
    await sleep(tickMs);
  }
  await settled();
  return result(total, startedAt, nackedReadings());
}

async function reconnected(): Promise<ReturnResult> {
  await untilAll(
    ({ isRefused, lostAt, helloAt }) => isRefused || (lostAt !== undefined && lostAt < helloAt),
    'had reconnected',
  );
  const back = sockets.filter(({ isRefused }) => !isRefused);
  const lostAt = Math.min(...sockets.flatMap((socket) => socket.lostAt ?? []));
  const helloAt = Math.max(...back.map((socket) => socket.helloAt));
  return {
    seconds: (helloAt - lostAt) / 1_000,
    refusedDevices: sockets.length - back.length,
    helloP99Ms: percentile(
      back.map((socket) => socket.helloAt - socket.attemptedAt),
      99,
    ),
    repeatedAttempts: back.reduce((sum, { failures }) => sum + failures, 0),
  };
}

function settled(): Promise<void> {
  return untilAll(({ framesInFlight }) => framesInFlight === 0, 'had all frames acked');
}

async function untilAll(isDone: (socket: LoadSocket) => boolean, what: string): Promise<void> {
  const deadline = performance.now() + settleTimeoutMs;
  while (!sockets.every(isDone)) {
    if (performance.now() > deadline) throw new Error(`not all sockets ${what} within ${settleTimeoutMs} ms`);
    await sleep(5);
  }
}

function result(frames: number, startedAt: number, nacked: number): LoadResult {
  const milliseconds = (histogram: RecordableHistogram, percent: number) =>
    histogram.count === 0 ? 0 : histogram.percentile(percent) / 1_000;
  return {
    frames,
    readings: frames * readingsPerFrame,
    startedAt,
    nackedReadings: nacked,
    lateP99Ms: milliseconds(lateness, 99),
    ackP50Ms: milliseconds(latency, 50),
    ackP99Ms: milliseconds(latency, 99),
  };
}

function nackedReadings(): number {
  return sockets.reduce((sum, socket) => sum + socket.nackedReadings, 0);
}

function epochNow(): number {
  return performance.timeOrigin + performance.now();
}
