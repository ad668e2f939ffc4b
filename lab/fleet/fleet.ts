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
  /** Device ids are this with a number. */
  readonly idPrefix: string;
  /** Readings per second of each device; `Infinity` is as fast as the acks come. */
  readonly ratePerDevice: number;
  readonly readingsPerFrame: number;
  readonly misbehaviour: Misbehaviour;
  readonly seed: number;
  /** Devices start evenly over this time. */
  readonly rampUpMs: number;
  /** Readings of each device; no end where it is left out. */
  readonly countPerDevice?: number;
  readonly durationMs?: number;
  readonly bufferReadingsMax: number;
  readonly overflow: OverflowPolicy;
  readonly settleTimeoutMs: number;
  /** Ends the sending; what was sent is still settled. */
  readonly signal: AbortSignal;
  /** Every device, as it starts. */
  readonly onDevice?: (device: FleetDevice) => void;
  /** Every frame, as it is measured. */
  readonly onFrame?: OnFrame;
  readonly backoff?: Backoff;
  readonly answerTimeoutMs?: number;
}

const tickMs = 10;
/** Readings a device keeps when it sends as fast as it can: what one round trip needs, not more. */
const unpacedBufferFramesMax = 64;

/**
 * Runs a fleet of devices that measure and send until their count, the duration or the signal ends it.
 * @returns the devices, when everything is settled or given up and every link is closed
 */
export async function runFleet(options: FleetOptions): Promise<readonly FleetDevice[]> {
  const { settleTimeoutMs, durationMs, onDevice } = options;
  const failed = new AbortController();
  const signal = AbortSignal.any([
    options.signal,
    failed.signal,
    ...(durationMs === undefined ? [] : [AbortSignal.timeout(durationMs)]),
  ]);
  const isPaced = Number.isFinite(options.ratePerDevice);
  const devices: FleetDevice[] = [];
  try {
    const sending: Promise<void>[] = [];
    if (isPaced) sending.push(sendPaced(devices, options, signal));
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
 * One clock for the whole fleet: frame number n of all belongs to device n modulo their number, and is due n steps after the start. So the
 * load is even over time, however many devices there are.
 */
async function sendPaced(fleet: readonly FleetDevice[], options: FleetOptions, signal: AbortSignal): Promise<void> {
  const { devices, ratePerDevice, readingsPerFrame, countPerDevice = Number.POSITIVE_INFINITY } = options;
  const stepMs = (1_000 * readingsPerFrame) / ratePerDevice / devices;
  const startedAt = performance.now();
  let frame = 0;
  let finished = 0;
  while (!signal.aborted && finished < devices) {
    const dueFrames = (performance.now() - startedAt) / stepMs;
    for (; frame < dueFrames && finished < devices; frame += 1) {
      const device = fleet[frame % devices];
      if (device === undefined || device.readings >= countPerDevice) continue;
      device.emit(Math.min(readingsPerFrame, countPerDevice - device.readings), 1_000 / ratePerDevice, Date.now());
      if (device.readings >= countPerDevice) finished += 1;
    }
    await sleep(tickMs, undefined, { signal }).catch(() => undefined);
  }
}

async function sendUnpaced(device: FleetDevice, options: FleetOptions, signal: AbortSignal): Promise<void> {
  const { readingsPerFrame, countPerDevice = Number.POSITIVE_INFINITY } = options;
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  while (!signal.aborted && device.readings < countPerDevice) {
    const count = Math.min(readingsPerFrame, countPerDevice - device.readings);
    // A device that is refused says so in its `failure`; the fleet goes on without it.
    await Promise.race([device.client.whenRoom(count).catch(() => undefined), aborted]);
    if (signal.aborted || device.client.failure !== undefined) return;
    device.emit(count, 0, Date.now());
  }
}
