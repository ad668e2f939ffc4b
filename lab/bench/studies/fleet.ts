import { measureBrokerFloor } from '../broker-floor.ts';
import type { Figure } from '../figure.ts';
import { envelopeBytesPerReading, frameBytesPerReading } from '../fleet-sizes.ts';
import { type FleetWritesOptions, measureFleetWrites } from '../fleet-writes.ts';
import { freshPlace } from '../fresh.ts';
import { startLoad } from '../load.ts';
import { type Batches, type Flood, LoadedPlatform, type Pace } from '../loaded-platform.ts';
import { BenchPlatform, forwardersOf } from '../platform.ts';
import { serverBehind, usageOf } from '../process-usage.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { startUsageMeter } from '../usage-meter.ts';

/** Of 300 devices with 40 readings in flight many readings of a batch are of one device; of 10,000 with one frame each, none beside the frame's. */
const shapes = [
  { devices: 300, readingsPerFrame: 1, inFlight: 40 },
  { devices: 300, readingsPerFrame: 20, inFlight: 40 },
  { devices: 10_000, readingsPerFrame: 1, inFlight: 1 },
  { devices: 10_000, readingsPerFrame: 20, inFlight: 20 },
];
const envelopeDevices = 10_000;
const tables: readonly FleetWritesOptions[] = [
  { devices: 1_000, history: 0 },
  { devices: 10_000, history: 0 },
  { devices: 100_000, history: 0 },
  { devices: 100_000, history: 300 },
  { devices: 1_000_000, history: 0 },
];
const readingsPerEnvelope = [1, 50, 500];
const handshakes = 5_000;
const calmReadingsPerSecond = 300;
const batchReadingsPerSecond = 3_000;

interface Measured {
  readonly values: Readonly<Record<string, Value>>;
  readonly othersCpuShare: number;
}
interface Value {
  readonly value: number;
  readonly unit: string;
}

/**
 * What docs/scaling.md reckons with: the costs of a reading where many devices send a little each, of a handshake, of a message in the
 * queue, and the latencies of a platform that has next to nothing to do.
 */
export async function studyFleet(context: StudyContext): Promise<StudyResult> {
  const { settings, say } = context;
  const samples = new Map<string, Figure & { samples: { value: number; othersCpuShare: number }[] }>();
  const enter = ({ values, othersCpuShare }: Measured): void => {
    for (const [name, { value, unit }] of Object.entries(values)) {
      say(`  ${name}: ${value.toPrecision(4)} ${unit}`);
      const figure = samples.get(name) ?? { name, unit, samples: [] };
      figure.samples.push({ value, othersCpuShare });
      samples.set(name, figure);
    }
  };
  for (let run = 1; run <= settings.runs; run += 1) {
    say(`run ${run}:`);
    for (const shape of shapes) enter(await path(context, shape));
    enter(await batches(context));
    for (const options of tables) enter(await writes(context, options));
    for (const count of readingsPerEnvelope) enter(await messages(context, count));
    enter(await storm(context));
    enter(await calm(context));
    enter(sizes());
  }
  const figures = [...samples.values()];
  return { figures, data: figures };
}

async function path(context: StudyContext, { readingsPerFrame, ...load }: (typeof shapes)[number]): Promise<Measured> {
  const name = `${load.devices} devices, ${readingsPerFrame} a frame`;
  const { seconds } = context.settings;
  await using platform = await LoadedPlatform.start(
    { ...context, settings: { ...context.settings, ...load } },
    { name: `fleet, ${name}`, readingsPerFrame },
  );
  const flood = await platform.flood(seconds);
  await platform.assertRows();
  const pace = await platform.pace(seconds, flood.readingsPerSecond / 3);
  const of = (figure: string) => `${figure}, ${name}`;
  const costs = (at: string, { processes, batches, readings }: Flood | Pace) => ({
    ...Object.fromEntries(
      Object.entries(processes).map(([server, { cpuSeconds }]) => [
        of(`CPU a reading ${at}, ${server}`),
        { value: (cpuSeconds * 1e6) / readings, unit: 'µs' },
      ]),
    ),
    [of(`readings an envelope ${at}`)]: { value: readings / batches.envelopes, unit: 'readings' },
    [of(`readings a transaction ${at}`)]: { value: readings / batches.transactions, unit: 'readings' },
  });
  return {
    othersCpuShare: Math.max(flood.othersCpuShare, pace.othersCpuShare),
    values: {
      [of('end to end')]: { value: flood.readingsPerSecond, unit: 'readings/s' },
      ...costs('in the flood', flood),
      ...costs('at a third', pace),
      ...latencies(pace, (figure) => of(`${figure} at a third`)),
    },
  };
}

function latencies(pace: Pace, name: (figure: string) => string): Readonly<Record<string, Value>> {
  return {
    [name('ack p50')]: { value: pace.ackP50Ms, unit: 'ms' },
    [name('ack p99')]: { value: pace.ackP99Ms, unit: 'ms' },
    [name('stored p50')]: { value: pace.storedP50Ms, unit: 'ms' },
    [name('stored p99')]: { value: pace.storedP99Ms, unit: 'ms' },
  };
}

/** What envelopes and transactions cost by themselves: the same readings in more of them. */
async function batches(context: StudyContext): Promise<Measured> {
  const usual = await paced(context, batchReadingsPerSecond, {});
  const envelopes = await paced(context, batchReadingsPerSecond, { ENVELOPE_LINGER_MS: '0' });
  const transactions = await paced(context, batchReadingsPerSecond, { BATCH_LINGER_MS: '0' });
  const cost = (server: string, count: keyof Batches, more: Pace) => {
    const seconds = (more.processes[server]?.cpuSeconds ?? 0) - (usual.processes[server]?.cpuSeconds ?? 0);
    return { value: Math.max(0, (seconds * 1e6) / (more.batches[count] - usual.batches[count])), unit: 'µs' };
  };
  return {
    othersCpuShare: Math.max(usual.othersCpuShare, envelopes.othersCpuShare, transactions.othersCpuShare),
    values: {
      'CPU an envelope, ingest-ws': cost('ingest-ws', 'envelopes', envelopes),
      'CPU an envelope, rabbitmq': cost('rabbitmq', 'envelopes', envelopes),
      'CPU an envelope, persistence-worker': cost('persistence-worker', 'envelopes', envelopes),
      'CPU a transaction, persistence-worker': cost('persistence-worker', 'transactions', transactions),
      'CPU a transaction, postgres': cost('postgres', 'transactions', transactions),
    },
  };
}

async function paced(
  context: StudyContext,
  readingsPerSecond: number,
  env: Readonly<Record<string, string>>,
): Promise<Pace> {
  await using platform = await LoadedPlatform.start(context, { name: 'fleet-paced', readingsPerFrame: 1, env });
  return await platform.pace(context.settings.seconds, readingsPerSecond);
}

async function writes(context: StudyContext, options: FleetWritesOptions): Promise<Measured> {
  const { othersCpuShare, ...measured } = await measureFleetWrites(context, options);
  const of = (name: string) => `${name}, ${options.devices} devices of ${options.history} readings before`;
  return {
    othersCpuShare,
    values: {
      [of('rows written')]: { value: measured.rowsPerSecond, unit: 'rows/s' },
      [of('CPU a row, Postgres')]: { value: measured.postgresCpuMicros, unit: 'µs' },
      [of('CPU a row, batch writer')]: { value: measured.writerCpuMicros, unit: 'µs' },
      [of('WAL a row')]: { value: measured.walBytes, unit: 'bytes' },
      [of('WAL a device after a checkpoint')]: { value: measured.walBytesAfterCheckpoint, unit: 'bytes' },
      [of('bytes a row')]: { value: measured.bytesPerRow, unit: 'bytes' },
      [of('bytes a device')]: { value: measured.bytesPerDevice, unit: 'bytes' },
    },
  };
}

/** A quorum queue that nobody consumes. */
async function messages({ services, settings, logger }: StudyContext, count: number): Promise<Measured> {
  await using place = await freshPlace(services);
  const meter = await startUsageMeter({ rabbitmq: await serverBehind(services.amqpUrl) }, await forwardersOf(services));
  const seconds = settings.seconds / 2;
  const readingsPerSecond = await measureBrokerFloor(place.amqpUrl, {
    devices: envelopeDevices,
    readingsPerFrame: 1,
    readingsPerEnvelope: count,
    seconds,
    logger,
  });
  const { processes, othersCpuShare } = await meter.stop();
  const messagesPerSecond = readingsPerSecond / count;
  return {
    othersCpuShare,
    values: {
      [`messages of ${count} readings`]: { value: messagesPerSecond, unit: 'messages/s' },
      [`CPU a message of ${count} readings, RabbitMQ`]: {
        value: ((processes['rabbitmq']?.cpuSeconds ?? 0) * 1e6) / (messagesPerSecond * seconds),
        unit: 'µs',
      },
    },
  };
}

/** Sockets one after the other, as fast as they are answered. */
async function storm(context: StudyContext): Promise<Measured> {
  await using platform = await BenchPlatform.start(context, { name: 'fleet-storm' });
  await using load = startLoad();
  const tokens = await platform.tokens(handshakes);
  const { residentBytes } = await usageOf(platform.ingests[0]!.pid);
  const meter = await platform.meter({ 'load generator': load.pid });
  const startedAt = performance.now();
  await load.request({
    type: 'connect',
    urls: platform.webSocketUrls,
    tokens,
    readingsPerFrame: 1,
    startTs: Date.now(),
  });
  const seconds = (performance.now() - startedAt) / 1_000;
  const { processes, othersCpuShare } = await meter.stop();
  await load.request({ type: 'disconnect' });
  return {
    othersCpuShare,
    values: {
      'memory of an idle ingest-ws': { value: residentBytes, unit: 'bytes' },
      'CPU a handshake, ingest-ws': {
        value: ((processes['ingest-ws']?.cpuSeconds ?? 0) * 1e6) / handshakes,
        unit: 'µs',
      },
      'handshakes of one ingest-ws': { value: handshakes / seconds, unit: '1/s' },
    },
  };
}

/** What is left of the latencies when nothing has to wait for anything else: the lingers, the confirm's sync, the commit's. */
async function calm(context: StudyContext): Promise<Measured> {
  const pace = await paced(context, calmReadingsPerSecond, {});
  return { othersCpuShare: pace.othersCpuShare, values: latencies(pace, (figure) => `${figure}, calm`) };
}

function sizes(): Measured {
  const values = [1, 20].flatMap((readingsPerFrame) => [
    [
      `bytes of a reading in a frame, ${readingsPerFrame} a frame`,
      { value: frameBytesPerReading(readingsPerFrame), unit: 'bytes' },
    ],
    [
      `bytes of a reading in an envelope, ${readingsPerFrame} a frame`,
      { value: envelopeBytesPerReading(envelopeDevices, readingsPerFrame), unit: 'bytes' },
    ],
  ]);
  return { othersCpuShare: 0, values: Object.fromEntries(values) };
}
