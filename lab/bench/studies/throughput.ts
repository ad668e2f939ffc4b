import { type AckReferences, measureAckReferences } from '../ack-references.ts';
import { measureBrokerFloor } from '../broker-floor.ts';
import { measureDatabaseFloor } from '../database-floor.ts';
import { type FreshPlace, freshPlace } from '../fresh.ts';
import { type Flood, LoadedPlatform, type Pace } from '../loaded-platform.ts';
import { forwardersOf } from '../platform.ts';
import { serverBehind } from '../process-usage.ts';
import { compareEnvelopeFormats } from '../envelope-formats.ts';
import { costsLine, figuresOf, formatsTable, summarise, table } from '../report.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { startUsageMeter } from '../usage-meter.ts';
import { compareValidators } from '../validators.ts';

export type Measurement = Flood & {
  readonly readingsPerFrame: number;
  readonly databaseFloor: number;
  readonly brokerFloor: number;
  readonly ofDatabaseFloor: number;
  readonly ofBrokerFloor: number;
  /** At a third of the flood's rate. */
  readonly latency: Pace;
  /** At the same rate. */
  readonly references: AckReferences;
};

/**
 * Durable readings per second beside what the database and the broker can do alone, and latencies at a third of that rate beside those of a
 * bare WebSocket server and a bare publisher confirm.
 */
export async function studyThroughput(context: StudyContext): Promise<StudyResult> {
  const { settings, log } = context;
  const validators = compareValidators();
  const envelopeFormats = settings.frames.map((readingsPerFrame) => ({
    readingsPerFrame,
    formats: compareEnvelopeFormats(readingsPerFrame),
  }));
  const measured: Measurement[][] = settings.frames.map(() => []);
  for (let run = 1; run <= settings.runs; run += 1) {
    for (const [index, readingsPerFrame] of settings.frames.entries()) {
      const measurement = await measure(context, readingsPerFrame);
      measured[index]!.push(measurement);
      const { readingsPerSecond, databaseFloor, ofDatabaseFloor, latency, references, othersCpuShare } = measurement;
      log(
        `run ${run}: ${readingsPerFrame} per frame: ${Math.round(readingsPerSecond)} readings/s, ${ofDatabaseFloor.toFixed(2)} of the database floor (${Math.round(databaseFloor)}/s);` +
          ` ack p99 ${latency.ackP99Ms.toFixed(1)} ms, bare WebSocket server ${references.webSocket.p99Ms.toFixed(1)} ms, bare confirm ${references.confirm.p99Ms.toFixed(1)} ms` +
          ` (other programs used ${Math.round(othersCpuShare * 100)} % of the CPU)`,
      );
    }
  }
  return {
    figures: measured.flatMap(figuresOf),
    details: [
      table(measured.map(summarise)),
      costsLine('checking one reading of five metrics', validators),
      ...envelopeFormats.map(({ readingsPerFrame, formats }) => formatsTable(readingsPerFrame, formats)),
    ].join('\n\n'),
    data: { validators, envelopeFormats, runs: measured.flat() },
  };
}

/** One run for one frame size: the floors, the platform and the references, one after the other, each on a vhost and a database of its own. */
async function measure(context: StudyContext, readingsPerFrame: number): Promise<Measurement> {
  const { services, logger } = context;
  const { devices, seconds } = context.settings;
  const floorSeconds = seconds / 2;
  const floorMeter = await startUsageMeter(
    { postgres: await serverBehind(services.databaseUrl) },
    await forwardersOf(services),
  );
  const databaseFloor = await inFreshPlace(context, ({ databaseUrl }) =>
    measureDatabaseFloor(databaseUrl, { devices, readingsPerFrame, seconds: floorSeconds }),
  );
  const { othersCpuShare } = await floorMeter.stop();
  const { flood, latency } = await measurePlatform(context, readingsPerFrame);
  const references = await measureAckReferences(context, latency, readingsPerFrame);
  const { readingsPerSecond, readingsPerEnvelope } = flood;
  const brokerFloor = await inFreshPlace(context, ({ amqpUrl }) =>
    measureBrokerFloor(amqpUrl, { devices, readingsPerFrame, readingsPerEnvelope, seconds: floorSeconds, logger }),
  );
  return {
    ...flood,
    readingsPerFrame,
    // The larger one of the database floor and the flood.
    othersCpuShare: Math.max(flood.othersCpuShare, othersCpuShare),
    databaseFloor,
    brokerFloor,
    ofDatabaseFloor: readingsPerSecond / databaseFloor,
    ofBrokerFloor: readingsPerSecond / brokerFloor,
    latency,
    references,
  };
}

async function inFreshPlace<T>({ services }: StudyContext, run: (place: FreshPlace) => Promise<T>): Promise<T> {
  await using place = await freshPlace(services);
  return await run(place);
}

async function measurePlatform(
  context: StudyContext,
  readingsPerFrame: number,
): Promise<{ flood: Flood; latency: Pace }> {
  const { seconds } = context.settings;
  await using platform = await LoadedPlatform.start(context, {
    name: `throughput-${readingsPerFrame}-per-frame`,
    readingsPerFrame,
  });
  const flood = await platform.flood(seconds);
  await platform.assertRows();
  return { flood, latency: await platform.pace(seconds, flood.readingsPerSecond / 3) };
}
