import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import { type SignalMetrics, deviceSignals } from '../fleet/signals.ts';

/** Readings of five metrics that follow from device and number alone, so that the floors write the same readings as the platform. */
export const metricsPerReading = 5;

const samplesMax = 512;
/** Of a reading of device d and number n that of (31 d + n) modulo their count. */
export const samples: readonly SignalMetrics[] = takeSamples();
const sampleTexts = samples.map((metrics) => JSON.stringify(metrics));
export const readingIntervalMs = 100;

const epoch = 'bench';

export function deviceIdOf(index: number): string {
  return `bench-${index}`;
}

export function metricsAt(device: number, seq: number): SignalMetrics {
  return samples[sampleAt(device, seq)]!;
}

/** @param startTs epoch milliseconds of seq 0 */
export function readingAt(device: number, seq: number, startTs: number): IdentifiedReading {
  return {
    deviceId: deviceIdOf(device),
    epoch,
    seq,
    ts: timeAt(seq, startTs),
    receivedAt: startTs,
    metrics: { ...metricsAt(device, seq) },
  };
}

function timeAt(seq: number, startTs: number): number {
  return startTs + seq * readingIntervalMs;
}

/** A telemetry frame of `count` readings from `seq` on, as text. */
export function frameText(device: number, seq: number, count: number, startTs: number): string {
  if (count === 1)
    return `{"type":"telemetry","seq":${seq},"ts":${timeAt(seq, startTs)},"metrics":${sampleTexts[sampleAt(device, seq)]}}`;
  let readings = '';
  for (let at = seq; at < seq + count; at += 1)
    readings += `${at === seq ? '' : ','}{"ts":${timeAt(at, startTs)},"metrics":${sampleTexts[sampleAt(device, at)]}}`;
  return `{"type":"telemetry","seq":${seq},"readings":[${readings}]}`;
}

/** Readings in the order in which a fleet sends them: one frame of each device, then the next frame of each. */
export function* fleetReadings(
  devices: number,
  readingsPerFrame: number,
  startTs: number,
): Generator<IdentifiedReading, never> {
  for (let first = 1; ; first += readingsPerFrame) {
    for (let device = 0; device < devices; device += 1) {
      for (let seq = first; seq < first + readingsPerFrame; seq += 1) yield readingAt(device, seq, startTs);
    }
  }
}

function sampleAt(device: number, seq: number): number {
  return (device * 31 + seq) % samplesMax;
}

function takeSamples(): SignalMetrics[] {
  const signals = deviceSignals(1);
  return Array.from({ length: samplesMax }, () => signals.next().value);
}
