import { type Tuning, assumptions, production } from './assumptions.ts';
import { type Costs, cpuMicros } from './costs.ts';
import { databaseLoad } from './database-load.ts';
import { type Envelopes, envelopesOf, gathered } from './envelopes.ts';
import { type Fleet, messagesPerSecond, readingsPerSecond } from './fleet.ts';

/** What a fleet needs: the count that each resource requires on its own; the largest decides. */
export interface Needs {
  readonly ingest: {
    readonly byCpu: number;
    readonly bySockets: number;
    readonly byMemory: number;
    readonly byStorm: number;
    /** The largest count, plus one spare. */
    readonly instances: number;
    readonly socketsEach: number;
    readonly bytesEach: number;
    readonly cores: number;
  };
  readonly broker: {
    readonly byLeader: number;
    readonly byOutage: number;
    readonly byStreams: number;
    readonly queues: number;
    readonly envelopes: Envelopes;
    readonly leaderUtilisation: number;
    readonly cores: number;
    readonly nodes: number;
    /** Disk space of all nodes together for the messages of an outage of Postgres. */
    readonly outageBytes: number;
  };
  readonly workers: { readonly byCpu: number; readonly workers: number; readonly cores: number };
  readonly database: {
    readonly byCpu: number;
    readonly byLog: number;
    readonly byDisk: number;
    readonly byMemory: number;
    /** Writers, without replicas. */
    readonly nodes: number;
    readonly cores: number;
    readonly walBytesPerSecond: number;
    readonly bytesPerDay: number;
    /** All readings within retention, without replicas. */
    readonly bytes: number;
    /** Pages that are updated continually: latest states, the newest blocks of the sequence ledger, the newest index pages. */
    readonly hotBytes: number;
    /** Growth of the sequence ledger, which is never pruned. */
    readonly ledgerBytesPerYear: number;
  };
  readonly network: { readonly inBytesPerSecond: number; readonly outBytesPerSecond: number };
}

export function needsOf(fleet: Fleet, costs: Costs, tuning: Tuning): Needs {
  const ingest = ingestNeeds(fleet, costs, tuning);
  const broker = brokerNeeds(fleet, costs, tuning, ingest.instances);
  const workers = workerNeeds(fleet, costs, broker);
  return { ingest, broker, workers, database: databaseNeeds(fleet, costs), network: networkNeeds(fleet, costs) };
}

function ingestNeeds(fleet: Fleet, costs: Costs, tuning: Tuning): Needs['ingest'] {
  const { devices, reconnectSeconds } = fleet;
  const { utilisation, stormUtilisation, socketsPerInstance, ingestBytes } = assumptions;
  const { perReading, perBatch } = costs.fleet(fleet.readingsPerMessage).ingest;
  const coresOf = (instances: number) => {
    const { envelopes } = brokerNeeds(fleet, costs, tuning, instances);
    return (readingsPerSecond(fleet) * perReading + envelopes.perSecond * perBatch) / 1e6;
  };
  const stormCores = ((devices / reconnectSeconds) * costs.handshakeMicros) / 1e6;
  const reasons = {
    byCpu: least((instances) => coresOf(instances) <= instances * utilisation),
    bySockets: Math.ceil(devices / socketsPerInstance),
    byMemory: Math.ceil((devices * costs.socketBytes) / (ingestBytes * utilisation - costs.instanceBytes)),
    byStorm: least((instances) => coresOf(instances) + stormCores <= instances * stormUtilisation),
  };
  const instances = Math.max(...Object.values(reasons)) + 1;
  const socketsEach = Math.ceil(devices / instances);
  return {
    ...reasons,
    instances,
    socketsEach,
    bytesEach: costs.instanceBytes + socketsEach * costs.socketBytes,
    cores: coresOf(instances),
  };
}

function brokerNeeds(fleet: Fleet, costs: Costs, tuning: Tuning, instances: number): Needs['broker'] {
  const { utilisation, brokerReplicas, brokerCores } = assumptions;
  const { broker } = costs.fleet(fleet.readingsPerMessage);
  const outageSeconds = fleet.outageMinutes * 60;
  const outageBytes = readingsPerSecond(fleet) * outageSeconds * costs.envelopeBytes(fleet.readingsPerMessage);
  const byOutage = least((queues) => {
    const { perSecond } = envelopesOf(fleet, instances * queues, tuning);
    return (
      outageBytes <= queues * production.queueBytesMax &&
      perSecond * outageSeconds <= queues * production.queueMessagesMax
    );
  });
  const byStreams = Math.ceil(fleet.devices / production.streamsRemembered);
  const coresWith = (queues: number) => {
    const { perSecond, readingsEach } = envelopesOf(fleet, instances * queues, tuning);
    return (perSecond * cpuMicros(broker, readingsEach)) / 1e6;
  };
  const byLeader = least((queues) => coresWith(queues) / queues <= utilisation);
  const queues = Math.max(byLeader, byOutage, byStreams);
  const cores = coresWith(queues) * brokerReplicas;
  return {
    byLeader,
    byOutage,
    byStreams,
    queues,
    envelopes: envelopesOf(fleet, instances * queues, tuning),
    leaderUtilisation: coresWith(queues) / queues,
    cores,
    nodes: Math.max(brokerReplicas, Math.ceil(cores / (brokerCores * utilisation))),
    outageBytes: outageBytes * brokerReplicas,
  };
}

function workerNeeds(fleet: Fleet, costs: Costs, { queues, envelopes }: Needs['broker']): Needs['workers'] {
  const { worker } = costs.fleet(fleet.readingsPerMessage);
  const readings = readingsPerSecond(fleet);
  const cores =
    (readings * worker.perReading +
      envelopes.perSecond * worker.perEnvelope +
      transactionsPerSecond(readings, queues) * worker.perBatch) /
    1e6;
  const byCpu = Math.ceil(cores / assumptions.utilisation);
  // Plus one spare: without it, the devices of a lost worker's queue wait.
  return { byCpu, workers: Math.max(byCpu, queues) + 1, cores };
}

function databaseNeeds(fleet: Fleet, costs: Costs): Needs['database'] {
  const { utilisation, databaseCores, databaseLogBytesPerSecond, databaseDiskBytes, databaseBytes } = assumptions;
  const { bytes, hotBytes, bytesPerDay, ledgerBytesPerYear } = databaseLoad(fleet, costs, 1);
  const on = (nodes: number) => databaseLoad(fleet, costs, nodes);
  const byCpu = least((nodes) => on(nodes).cores <= nodes * databaseCores * utilisation);
  const byLog = least((nodes) => on(nodes).walBytesPerSecond <= nodes * databaseLogBytesPerSecond * utilisation);
  const byDisk = Math.ceil(bytes / (databaseDiskBytes * utilisation));
  const byMemory = Math.ceil(hotBytes / (databaseBytes * utilisation));
  const nodes = Math.max(byCpu, byLog, byDisk, byMemory);
  const { cores, walBytesPerSecond } = on(nodes);
  return {
    byCpu,
    byLog,
    byDisk,
    byMemory,
    nodes,
    cores,
    walBytesPerSecond,
    bytesPerDay,
    bytes,
    hotBytes,
    ledgerBytesPerYear,
  };
}

function networkNeeds(fleet: Fleet, costs: Costs): Needs['network'] {
  const { packetBytes, ackBytes } = assumptions;
  const messages = messagesPerSecond(fleet);
  const frameBytes = costs.frameBytes(fleet.readingsPerMessage) * fleet.readingsPerMessage;
  return {
    inBytesPerSecond: messages * (frameBytes + packetBytes),
    outBytesPerSecond: messages * (ackBytes + packetBytes),
  };
}

/** @param workers that are busy: one per queue */
function transactionsPerSecond(readings: number, workers: number): number {
  const { batchLingerMs, batchReadingsMax } = production;
  const readingsEach = Math.min(batchReadingsMax, gathered(readings / workers, batchLingerMs));
  return readings / readingsEach;
}

/** The smallest count, from 1, that is enough. Every larger count must be enough as well. */
export function least(isEnough: (count: number) => boolean): number {
  let tooFew = 0;
  let enough = 1;
  while (!isEnough(enough)) {
    tooFew = enough;
    enough *= 2;
  }
  while (enough - tooFew > 1) {
    const middle = Math.floor((tooFew + enough) / 2);
    if (isEnough(middle)) enough = middle;
    else tooFew = middle;
  }
  return enough;
}
