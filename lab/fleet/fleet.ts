import { setTimeout as sleep } from 'node:timers/promises';
import type { Backoff } from '@fleetwire/contracts/backoff';
import type { Credentials } from './credentials.ts';
import { startDeviceClient } from './device-client.ts';
import { FleetDevice, type Misbehaviour, type OnFrame } from './fleet-device.ts';
import type { OverflowPolicy } from './outbox.ts';
import { seededRandom } from './random.ts';
import type { LinkStatistics } from './uplink.ts';

export interface FleetOptions {
  readonly url: string;
  readonly credentials: Credentials;
  readonly statistics: LinkStatistics;
  readonly devices: number;
  /** Device ids are this prefix and a number. */
  readonly idPrefix: string;
  /** Readings per second of each device; `Infinity` sends as fast as acks arrive. */
  readonly ratePerDevice: number;
  readonly readingsPerFrame: number;
  readonly misbehaviour: Misbehaviour;
  readonly seed: number;
  /** Devices start evenly over this time. */
  readonly rampUpMs: number;
  /** Number of readings of each device; unlimited if omitted. */
  readonly countPerDevice?: number;
  readonly durationMs?: number;
  readonly bufferReadingsMax: number;
  readonly overflow: OverflowPolicy;
  readonly settleTimeoutMs: number;
  /** Stops sending; readings that were sent are still settled. */
  readonly signal: AbortSignal;
  /** Called for each device when it starts. */
  readonly onDevice?: (device: FleetDevice) => void;
  /** Called for each frame when it is measured. */
  readonly onFrame?: OnFrame;
  readonly backoff?: Backoff;
  readonly answerTimeoutMs?: number;
}

const tickMs = 10;
/** Frames that a device buffers when it sends as fast as it can: enough for one round trip. */
const unpacedBufferFramesMax = 64;

/**
 * Runs a fleet of devices that measure and send until their count or the duration is reached, or the signal fires.
 * @returns the devices, when all readings are settled or given up and all links are closed
 */
export async function runFleet(options: FleetOptions): Promise<readonly FleetDevice[]> {
  const { settleTimeoutMs, durationMs, onDevice } = options;
  const failed = new AbortController();
  const stopped = AbortSignal.any([options.signal, failed.signal]);
  const signal = AbortSignal.any([stopped, ...(durationMs === undefined ? [] : [AbortSignal.timeout(durationMs)])]);
  const isPaced = Number.isFinite(options.ratePerDevice);
  const devices: FleetDevice[] = [];
  try {
    const sending: Promise<void>[] = [];
    if (isPaced) sending.push(sendPaced(devices, options, stopped));
    for await (const device of startDevices(options, signal)) {
      devices.push(device);
      onDevice?.(device);
      if (!isPaced) sending.push(sendUnpaced(device, options, signal));
    }
    await Promise.all(sending);
  } catch (error) {
    failed.abort();
    throw error;
  } finally {
    await Promise.all(devices.map(({ client }) => client.stop({ settleTimeoutMs })));
  }
  return devices;
}

async function* startDevices(options: FleetOptions, signal: AbortSignal): AsyncGenerator<FleetDevice> {
  const {
    devices,
    idPrefix,
    url,
    credentials,
    statistics,
    seed,
    misbehaviour,
    rampUpMs,
    overflow,
    readingsPerFrame,
    ratePerDevice,
    onFrame,
    backoff,
    answerTimeoutMs,
  } = options;
  const bufferReadingsMax = Number.isFinite(ratePerDevice)
    ? options.bufferReadingsMax
    : unpacedBufferFramesMax * readingsPerFrame;
  const startedAt = performance.now();
  for (let index = 0; index < devices; index += 1) {
    const waitMs = (index * rampUpMs) / devices - (performance.now() - startedAt);
    if (waitMs > 1) await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    const deviceId = `${idPrefix}${index + 1}`;
    const random = seededRandom(seed * 1_000_003 + index);
    const credential = await credentials(deviceId);
    const client = startDeviceClient({
      url,
      deviceId,
      ...credential,
      bufferReadingsMax,
      overflow,
      readingsPerFrameMax: readingsPerFrame,
      statistics,
      ...(backoff === undefined ? {} : { backoff }),
      ...(answerTimeoutMs === undefined ? {} : { answerTimeoutMs }),
    });
    yield new FleetDevice(client, {
      seed: seed + index,
      random,
      misbehaviour,
      isHttp: url.startsWith('http'),
      onFrame,
    });
  }
}

/**
 * One schedule for the whole fleet: frame n is due n steps after the start, and is sent by device n modulo the number of devices. So the load is
 * even over time. A busy machine may send a frame late, but the number of frames depends on the duration alone.
 */
async function sendPaced(fleet: readonly FleetDevice[], options: FleetOptions, signal: AbortSignal): Promise<void> {
  const { devices, ratePerDevice, readingsPerFrame, durationMs = Number.POSITIVE_INFINITY } = options;
  const { countPerDevice = Number.POSITIVE_INFINITY } = options;
  const stepMs = (1_000 * readingsPerFrame) / ratePerDevice / devices;
  const startedAt = performance.now();
  let frame = 0;
  let finished = 0;
  while (!signal.aborted && finished < devices) {
    const elapsedMs = performance.now() - startedAt;
    const dueFrames = Math.min(elapsedMs, durationMs) / stepMs;
    for (; frame < dueFrames && finished < devices; frame += 1) {
      const device = fleet[frame % devices];
      if (device === undefined || device.readings >= countPerDevice) continue;
      device.emit(Math.min(readingsPerFrame, countPerDevice - device.readings), 1_000 / ratePerDevice, Date.now());
      if (device.readings >= countPerDevice) finished += 1;
    }
    if (elapsedMs >= durationMs) return;
    await sleep(tickMs, undefined, { signal }).catch(() => undefined);
  }
}

async function sendUnpaced(device: FleetDevice, options: FleetOptions, signal: AbortSignal): Promise<void> {
  const { readingsPerFrame, countPerDevice = Number.POSITIVE_INFINITY } = options;
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  while (!signal.aborted && device.readings < countPerDevice) {
    const count = Math.min(readingsPerFrame, countPerDevice - device.readings);
    // A refused device has a `failure`; the fleet continues without it.
    await Promise.race([device.client.whenRoom(count).catch(() => undefined), aborted]);
    if (signal.aborted || device.client.failure !== undefined) return;
    device.emit(count, 0, Date.now());
  }
}
