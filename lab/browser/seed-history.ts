import { randomUUID } from 'node:crypto';
import { openBrokerConnection } from '@fleetwire/broker/connection';
import { createPublisher } from '@fleetwire/broker/publisher';
import { exchanges, queues, routingKeys } from '@fleetwire/broker/topology';
import { deadLetterType } from '@fleetwire/contracts/dead-letter';
import { edgeReportSchemaVersion, edgeReportType, encodeEdgeReport, minuteOf } from '@fleetwire/contracts/edge-report';
import { encodeEnvelope, envelopeSchemaVersion, envelopeType, runsOf } from '@fleetwire/contracts/envelope';
import { edgeLeaseMs } from '@fleetwire/contracts/presence';
import {
  type EndedSessionFact,
  encodePresenceFact,
  presenceSchemaVersion,
  presenceTypes,
} from '@fleetwire/contracts/presence-facts';
import type { Metrics } from '@fleetwire/contracts/metrics';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { deadReading } from '@fleetwire/persistence-worker/dead-letters';
import { createLogger } from '@fleetwire/runtime/logger';
import {
  fleet,
  historyMs,
  measure,
  minuteMs,
  noise,
  offlineMs,
  type SeedDevice,
  silentMs,
  truck,
} from './seed-devices.ts';

const readingsPerEnvelope = 500;
const envelopesInFlightMax = 20;
const networkMs = 380;
const unreadable = 3;
/** Postgres did not write for so long, some time ago: readings of these devices were dead-lettered, and replayed by themselves. */
export const timeout = { from: 26 * minuteMs, to: 24 * minuteMs, depots: ['lyon-est', 'rotterdam', 'milano'] };
/** Since then firmware 4.2.1 sends a zero byte in a text of cold rooms. */
const zeroByteMs = 75 * minuteMs;

export const epochOf = ({ deviceId, number }: SeedDevice) =>
  deviceId === truck.deviceId ? truck.boots[1] : `b-${((number + 1) * 40_503).toString(16).slice(-4)}`;

/** The times `from` until `to`, of a story whose end is `now`. */
interface Part {
  readonly now: number;
  readonly from: number;
  readonly to: number;
  /** It holds what happens once, too. */
  readonly isFirst: boolean;
}

interface Published {
  /** Of each device: the last number of the epoch with which it goes on. */
  readonly numbers: ReadonlyMap<string, number>;
  readonly deadLetters: number;
}

/**
 * Publishes the last day of the fleet as an edge published it then, in messages with the times of then: readings, its report for the
 * reconciliation, and sessions that have ended. Some readings cannot be stored, and become dead letters.
 */
export async function publishHistory(amqpUrl: string, part: Part): Promise<Published> {
  const { now, isFirst } = part;
  const logger = await createLogger({ name: 'seed', level: 'silent' });
  const connection = openBrokerConnection({ url: amqpUrl, name: 'seed', logger });
  const limits = { messagesInFlightMax: 1_000, bytesInFlightMax: 1e9, confirmTimeoutMs: 60_000 };
  const publisher = createPublisher(connection, { logger, ...limits });
  const send = (queue: string, type: string, content: Buffer) =>
    publisher.publish({
      exchange: queue === queues.persist ? exchanges.telemetry : exchanges.default,
      routingKey: queue === queues.persist ? routingKeys.persist : queue,
      messageId: randomUUID(),
      type,
      headers: {},
      content,
    });
  try {
    await publisher.whenWritable();
    const numbers = new Map<string, number>();
    const received = new Map<number, number>();
    let deadLetters = 0;
    let batch: IdentifiedReading[] = [];
    let inFlight: Promise<void>[] = [];
    const flush = async () => {
      inFlight.push(send(queues.persist, envelopeType, envelope(batch)));
      batch = [];
      if (inFlight.length < envelopesInFlightMax) return;
      await Promise.all(inFlight);
      inFlight = [];
    };
    for (const device of fleet)
      for (const reading of historyOf(device, part)) {
        if (reading.epoch === epochOf(device)) numbers.set(device.deviceId, reading.seq);
        const minute = minuteOf(reading.receivedAt);
        received.set(minute, (received.get(minute) ?? 0) + 1);
        if ('door.label' in reading.metrics || timedOut(device, reading, now)) deadLetters += 1;
        if (timedOut(device, reading, now)) await send(queues.dead, deadLetterType, timeoutLetter(reading));
        else batch.push(reading);
        if (batch.length === readingsPerEnvelope) await flush();
      }
    await flush();
    await Promise.all(inFlight);
    if (isFirst) {
      const invalid = withoutSpeed(now);
      await send(queues.persist, envelopeType, envelope(invalid));
      for (const { receivedAt } of invalid) {
        const minute = minuteOf(receivedAt);
        received.set(minute, (received.get(minute) ?? 0) + 1);
      }
      // What a connection that broke has left of a message.
      for (let index = 0; index < unreadable; index += 1)
        await send(queues.persist, envelopeType, Buffer.from(`{"id":"${index}","type":"telemetry.rec`));
      await send(queues.presence, presenceTypes.sessions, sessions(now));
      deadLetters += invalid.length + unreadable;
    }
    await send(queues.persist, edgeReportType, report(received, part));
    return { numbers, deadLetters };
  } finally {
    await publisher.close();
    await connection.close();
  }
}

function* historyOf(device: SeedDevice, { now, from, to }: Part): Iterable<IdentifiedReading> {
  const { deviceId, everyMs, number } = device;
  const isTruck = deviceId === truck.deviceId;
  const end = Math.min(to, device.now === 'silent' ? now - silentMs : device.now === 'offline' ? now - offlineMs : to);
  const bootAt = now - truck.bootAgoMs;
  let seq = 0;
  let epoch = isTruck ? truck.boots[0] : epochOf(device);
  // Each device has a second of its own.
  for (let at = now - historyMs + ((number * 7_919) % everyMs); at < end; at += everyMs) {
    if (isTruck && epoch === truck.boots[0] && at >= bootAt) [epoch, seq] = [truck.boots[1], 0];
    // It takes a while to boot.
    if (isTruck && at >= bootAt - 2 * minuteMs && at < bootAt) continue;
    seq += 1;
    if (at < from || (isTruck && isWithin(at, truck.lost, now))) continue;
    const inTunnel = isTruck && isWithin(at, truck.tunnel, now);
    const metrics = measure(device, at, now);
    const isOld = device.type === 'freezer' && device.firmware === '4.2.1';
    const isRefused =
      isOld && at >= now - zeroByteMs && (noise(number, seq) + 1) / 2 < (0.4 * (at - now + zeroByteMs)) / zeroByteMs;
    yield {
      deviceId,
      epoch,
      seq,
      ts: at,
      receivedAt: (inTunnel ? now - truck.tunnel.to : at) + networkMs,
      metrics: isRefused ? { ...metrics, 'door.label': `A${(number % 4) + 1}\0` } : metrics,
    };
  }
}

const isWithin = (at: number, ago: { readonly from: number; readonly to: number }, now: number) =>
  at >= now - ago.from && at < now - ago.to;

const timedOut = ({ type, depot, deviceId }: SeedDevice, { ts }: IdentifiedReading, now: number) =>
  type === 'truck' && deviceId !== truck.deviceId && timeout.depots.includes(depot) && isWithin(ts, timeout, now);

function timeoutLetter(reading: IdentifiedReading): Buffer {
  const failedAt = reading.receivedAt + minuteMs;
  const error = { code: '57014', message: 'canceling statement due to statement timeout' };
  const letter = deadReading(reading, {
    reason: 'retries-exhausted',
    error,
    attempts: 4,
    firstFailedAt: reading.receivedAt,
    failedAt,
  });
  return Buffer.from(JSON.stringify(letter));
}

function envelope(readings: readonly IdentifiedReading[]): Buffer {
  return encodeEnvelope({
    id: randomUUID(),
    type: envelopeType,
    schemaVersion: envelopeSchemaVersion,
    occurredAt: Date.now(),
    runs: runsOf(readings),
  });
}

/** A sensor that has failed is sent as null, which is no value. */
function withoutSpeed(now: number): IdentifiedReading[] {
  const device = fleet.find(({ deviceId }) => deviceId !== truck.deviceId)!;
  return Array.from({ length: 6 }, (_, index) => {
    const at = now - (index + 1) * 31 * minuteMs;
    const metrics = { speed: null } as unknown as Metrics;
    return {
      deviceId: device.deviceId,
      epoch: `${epochOf(device)}-2`,
      seq: 6 - index,
      ts: at,
      receivedAt: at,
      metrics,
    };
  });
}

/** Two reports of an instance that has drained then. */
function report(received: ReadonlyMap<number, number>, { to, isFirst }: Part): Buffer {
  return encodeEdgeReport({
    id: randomUUID(),
    type: edgeReportType,
    schemaVersion: edgeReportSchemaVersion,
    occurredAt: to,
    instanceId: 'ingest-before',
    sequence: isFirst ? 1 : 2,
    isLast: !isFirst,
    entries: [...received].map(([minute, accepted]) => ({ minute, accepted, rejected: 0, nacked: 0, unconfirmed: 0 })),
    positions: { last: 0, numberedBefore: to, intervalMs: 5_000, unsent: [], unconfirmed: [] },
  });
}

function sessions(now: number): Buffer {
  const ended = (deviceId: string, epoch: string, from: number, to: number): EndedSessionFact => ({
    sessionId: randomUUID(),
    deviceId,
    epoch,
    startedAt: now - from,
    endedAt: now - to,
    reason: 'network',
  });
  const { deviceId, boots, bootAgoMs, tunnel } = truck;
  return encodePresenceFact({
    id: randomUUID(),
    type: presenceTypes.sessions,
    schemaVersion: presenceSchemaVersion,
    occurredAt: now,
    edge: 'ingest-before',
    generation: 1,
    leaseMs: edgeLeaseMs,
    started: [],
    ended: [
      ended(deviceId, boots[0], historyMs + minuteMs, bootAgoMs + 2 * minuteMs),
      ended(deviceId, boots[1], bootAgoMs, tunnel.from),
      ...fleet
        .filter((device) => device.now === 'offline')
        .map((device) => ended(device.deviceId, epochOf(device), historyMs, offlineMs)),
    ],
  });
}
