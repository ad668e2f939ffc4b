import { encodeEnvelope, envelopeSchemaVersion, envelopeType, runsOf } from '@fleetwire/contracts/envelope';
import { randomUUID } from 'node:crypto';
import { fleetReadings, frameText } from './workload.ts';

const readingsPerEnvelope = 500;

/** @returns bytes per reading in an envelope to which each device has contributed one frame */
export function envelopeBytesPerReading(devices: number, readingsPerFrame: number): number {
  const readings = fleetReadings(devices, readingsPerFrame, Date.now());
  const content = encodeEnvelope({
    id: randomUUID(),
    type: envelopeType,
    schemaVersion: envelopeSchemaVersion,
    occurredAt: Date.now(),
    runs: runsOf(Array.from({ length: readingsPerEnvelope }, () => readings.next().value)),
  });
  return content.length / readingsPerEnvelope;
}

/** @returns bytes per reading in a frame's text */
export function frameBytesPerReading(readingsPerFrame: number): number {
  return Buffer.byteLength(frameText(0, 1_000_000, readingsPerFrame, Date.now())) / readingsPerFrame;
}
