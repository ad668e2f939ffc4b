import { randomUUID } from 'node:crypto';
import { encodeEnvelope, envelopeSchemaVersion, envelopeType, runsOf } from '@fleetwire/contracts/envelope';
import { measureBrokerFloor } from '../broker-floor.ts';
import { type CostId, type CostLoad, costFigure } from '../cost-figures.ts';
import type { Figure, Sample } from '../figure.ts';
import { type FleetWritesOptions, measureFleetWrites } from '../fleet-writes.ts';
import { freshPlace } from '../fresh.ts';
import { startLoad } from '../load.ts';
import { type Batches, type Flood, LoadedPlatform, type Pace } from '../loaded-platform.ts';
import { BenchPlatform, forwardersOf } from '../platform.ts';
import { serverBehind, usageOf } from '../process-usage.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { startUsageMeter } from '../usage-meter.ts';
import { fleetReadings, frameText } from '../workload.ts';

/**
 * With 300 devices and 40 readings in flight each, a batch holds many readings of one device; with 10,000 devices and one frame in flight
 * each, it holds one frame per device.
 */
const shapes = [
  { devices: 300, readingsPerFrame: 1, inFlight: 40 },
  { devices: 300, readingsPerFrame: 20, inFlight: 40 },
  { devices: 10_000, readingsPerFrame: 1, inFlight: 1 },
  { devices: 10_000, readingsPerFrame: 20, inFlight: 20 },
];
type Shape = (typeof shapes)[number];
const envelopeDevices = 10_000;
const tables: readonly FleetWritesOptions[] = [
  { devices: 1_000, storedPerDevice: 0 },
  { devices: 10_000, storedPerDevice: 0 },
  { devices: 100_000, storedPerDevice: 0 },
  { devices: 100_000, storedPerDevice: 300 },
  { devices: 1_000_000, storedPerDevice: 0 },
];
const readingsPerEnvelope = [1, 50, 500];
const readingsPerEnvelopeMax = 500;
const handshakes = 5_000;
const lowReadingsPerSecond = 300;
const batchReadingsPerSecond = 3_000;

interface Measured {
  readonly values: readonly Value[];
  readonly othersCpuShare: number;
}
interface Value {
  readonly id: CostId;
  readonly value: number;
}

/**
 * The costs that docs/scaling.md calculates with: of a reading where many devices send a little each, of a handshake, of a message in the
 * queue, and the latencies of a platform with next to nothing to do.
 */
export async function studyFleet(context: StudyContext): Promise<StudyResult> {
  const { settings, log } = context;
  const figures = new Map<string, Figure & { readonly samples: Sample[] }>();
  const record = ({ values, othersCpuShare }: Measured): void => {
    for (const { id, value } of values) {
      const figure = figures.get(JSON.stringify(id)) ?? { ...costFigure(id), samples: [] };
      log(`  ${figure.name}: ${value.toPrecision(4)} ${figure.unit}`);
      figure.samples.push({ value, othersCpuShare });
      figures.set(JSON.stringify(id), figure);
    }
  };
  for (let run = 1; run <= settings.runs; run += 1) {
    log(`run ${run}:`);
    for (const shape of shapes) record(await path(context, shape));
    record(await batches(context));
    for (const options of tables) record(await writes(context, options));
    for (const count of readingsPerEnvelope) record(await messages(context, count));
    record(await handshakeCosts(context));
    record(await latenciesAtLowLoad(context));
    record(sizes());
  }
  return { figures: [...figures.values()], data: [...figures.values()] };
}

async function path(context: StudyContext, shape: Shape): Promise<Measured> {
  const { readingsPerFrame, devices, inFlight } = shape;
  const { seconds } = context.settings;
  await using platform = await LoadedPlatform.start(
    { ...context, settings: { ...context.settings, devices, inFlight } },
    { name: `fleet-${devices}-devices-${readingsPerFrame}-per-frame`, readingsPerFrame },
  );
  const flood = await platform.flood(seconds);
  await platform.assertRows();
  const pace = await platform.pace(seconds, flood.readingsPerSecond / 3);
  return {
    othersCpuShare: Math.max(flood.othersCpuShare, pace.othersCpuShare),
    values: [
      { id: { kind: 'readingsPerSecond', devices, readingsPerFrame }, value: flood.readingsPerSecond },
      ...loadCosts('full', shape, flood),
      ...loadCosts('third', shape, pace),
      ...latencies(pace, { load: 'third', devices, readingsPerFrame }),
    ],
  };
}

function loadCosts(
  load: CostLoad,
  { devices, readingsPerFrame }: Shape,
  { processes, batches: { envelopes, transactions }, readings }: Flood | Pace,
): Value[] {
  const conditions = { load, devices, readingsPerFrame };
  return [
    ...Object.entries(processes).map(([process, { cpuSeconds }]) => ({
      id: { kind: 'cpuPerReading', process, ...conditions } as const,
      value: (cpuSeconds * 1e6) / readings,
    })),
    { id: { kind: 'readingsPerEnvelope', ...conditions }, value: readings / envelopes },
    { id: { kind: 'readingsPerTransaction', ...conditions }, value: readings / transactions },
  ];
}

function latencies(pace: Pace, conditions: Omit<CostId, 'kind'>): Value[] {
  return [
    { id: { kind: 'ackP50', ...conditions }, value: pace.ackP50Ms },
    { id: { kind: 'ackP99', ...conditions }, value: pace.ackP99Ms },
    { id: { kind: 'storedP50', ...conditions }, value: pace.storedP50Ms },
    { id: { kind: 'storedP99', ...conditions }, value: pace.storedP99Ms },
  ];
}

/** What one envelope and one transaction cost: the same readings are sent in more of them. */
async function batches(context: StudyContext): Promise<Measured> {
  const usual = await paced(context, batchReadingsPerSecond, {});
  const moreEnvelopes = await paced(context, batchReadingsPerSecond, { ENVELOPE_LINGER_MS: '0' });
  const moreTransactions = await paced(context, batchReadingsPerSecond, { BATCH_LINGER_MS: '0' });
  const costOfOne = (process: string, count: keyof Batches, more: Pace) => {
    const seconds = (more.processes[process]?.cpuSeconds ?? 0) - (usual.processes[process]?.cpuSeconds ?? 0);
    return Math.max(0, (seconds * 1e6) / (more.batches[count] - usual.batches[count]));
  };
  const perEnvelope = (process: string): Value => ({
    id: { kind: 'cpuPerEnvelope', process },
    value: costOfOne(process, 'envelopes', moreEnvelopes),
  });
  const perTransaction = (process: string): Value => ({
    id: { kind: 'cpuPerTransaction', process },
    value: costOfOne(process, 'transactions', moreTransactions),
  });
  return {
    othersCpuShare: Math.max(usual.othersCpuShare, moreEnvelopes.othersCpuShare, moreTransactions.othersCpuShare),
    values: [
      ...['ingest-ws', 'rabbitmq', 'persistence-worker'].map(perEnvelope),
      ...['persistence-worker', 'postgres'].map(perTransaction),
    ],
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
  return {
    othersCpuShare,
    values: [
      { id: { kind: 'rowsPerSecond', ...options }, value: measured.rowsPerSecond },
      { id: { kind: 'cpuPerRow', process: 'postgres', ...options }, value: measured.postgresCpuMicros },
      { id: { kind: 'cpuPerRow', process: 'batch writer', ...options }, value: measured.writerCpuMicros },
      { id: { kind: 'walBytesPerRow', ...options }, value: measured.walBytes },
      { id: { kind: 'walBytesPerDeviceAfterCheckpoint', ...options }, value: measured.walBytesAfterCheckpoint },
      { id: { kind: 'bytesPerRow', ...options }, value: measured.bytesPerRow },
      { id: { kind: 'bytesPerDevice', ...options }, value: measured.bytesPerDevice },
    ],
  };
}

/** Publishes to a quorum queue without a consumer. */
async function messages({ services, settings, logger }: StudyContext, readingsPerMessage: number): Promise<Measured> {
  await using place = await freshPlace(services);
  const meter = await startUsageMeter({ rabbitmq: await serverBehind(services.amqpUrl) }, await forwardersOf(services));
  const seconds = settings.seconds / 2;
  const readingsPerSecond = await measureBrokerFloor(place.amqpUrl, {
    devices: envelopeDevices,
    readingsPerFrame: 1,
    readingsPerEnvelope: readingsPerMessage,
    seconds,
    logger,
  });
  const { processes, othersCpuShare } = await meter.stop();
  const messagesPerSecond = readingsPerSecond / readingsPerMessage;
  const cpuMicros = (processes['rabbitmq']?.cpuSeconds ?? 0) * 1e6;
  return {
    othersCpuShare,
    values: [
      { id: { kind: 'messagesPerSecond', readingsPerMessage }, value: messagesPerSecond },
      {
        id: { kind: 'cpuPerMessage', process: 'rabbitmq', readingsPerMessage },
        value: cpuMicros / (messagesPerSecond * seconds),
      },
    ],
  };
}

/** Connects sockets one after the other, as fast as they are answered. */
async function handshakeCosts(context: StudyContext): Promise<Measured> {
  await using platform = await BenchPlatform.start(context, { name: 'fleet-handshakes' });
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
  const cpuMicros = (processes['ingest-ws']?.cpuSeconds ?? 0) * 1e6;
  return {
    othersCpuShare,
    values: [
      { id: { kind: 'idleBytes', process: 'ingest-ws' }, value: residentBytes },
      { id: { kind: 'cpuPerHandshake', process: 'ingest-ws' }, value: cpuMicros / handshakes },
      { id: { kind: 'handshakesPerSecond', process: 'ingest-ws' }, value: handshakes / seconds },
    ],
  };
}

/** The latencies without any queueing: what remains is the lingers, and the disk syncs of the confirm and the commit. */
async function latenciesAtLowLoad(context: StudyContext): Promise<Measured> {
  const pace = await paced(context, lowReadingsPerSecond, {});
  return { othersCpuShare: pace.othersCpuShare, values: latencies(pace, { load: 'low' }) };
}

function sizes(): Measured {
  const values = [1, 20].flatMap((readingsPerFrame): Value[] => [
    { id: { kind: 'frameBytesPerReading', readingsPerFrame }, value: frameBytesPerReading(readingsPerFrame) },
    {
      id: { kind: 'envelopeBytesPerReading', readingsPerFrame },
      value: envelopeBytesPerReading(envelopeDevices, readingsPerFrame),
    },
  ]);
  return { othersCpuShare: 0, values };
}

/** @returns bytes per reading in an envelope to which each device has contributed one frame */
function envelopeBytesPerReading(devices: number, readingsPerFrame: number): number {
  const readings = fleetReadings(devices, readingsPerFrame, Date.now());
  const content = encodeEnvelope({
    id: randomUUID(),
    type: envelopeType,
    schemaVersion: envelopeSchemaVersion,
    occurredAt: Date.now(),
    runs: runsOf(Array.from({ length: readingsPerEnvelopeMax }, () => readings.next().value)),
  });
  return content.length / readingsPerEnvelopeMax;
}

/** @returns bytes per reading in a frame's text */
function frameBytesPerReading(readingsPerFrame: number): number {
  return Buffer.byteLength(frameText(0, 1_000_000, readingsPerFrame, Date.now())) / readingsPerFrame;
}
