import { defaults, assumptions, production } from './assumptions.ts';
import { least } from './capacity.ts';
import { type Costs, cpuMicros } from './costs.ts';
import { type DatabaseLoad, databaseLoad } from './database-load.ts';
import { envelopesOf } from './envelopes.ts';
import { type Fleet, readingsPerSecond } from './fleet.ts';

/** One resource of a single instance of everything, with the default settings. */
export interface Limit {
  readonly what: string;
  /** The largest fleet that it is enough for. */
  readonly devices: number;
  readonly remedy: string;
}

const int4Max = 2 ** 31 - 1;
const partitionBytesMax = 32 * 2 ** 40;
const partitionDays = 7;
const streamYears = 10;

/** @param fleet of any size: what each device does counts. @returns in the order in which a growing fleet reaches them */
export function limitsOf(fleet: Fleet, costs: Costs): Limit[] {
  const limits = [
    ...ingestLimits(fleet, costs),
    ...brokerLimits(fleet, costs),
    ...workerLimits(fleet, costs),
    ...databaseLimits(fleet, costs),
    ...schemaLimits(fleet, costs),
  ];
  return limits.sort((a, b) => a.devices - b.devices);
}

function ingestLimits(fleet: Fleet, costs: Costs): Limit[] {
  const { ingest } = costs.fleet(fleet.readingsPerMessage);
  const remedy = 'more instances';
  const cores = (of: Fleet) => (readingsPerSecond(of) * ingest.perReading) / 1e6;
  const reconnectCores = (of: Fleet) => ((of.devices / of.reconnectSeconds) * costs.handshakeMicros) / 1e6;
  return [
    {
      what: 'connections of one ingest-ws (`CONNECTIONS_MAX`)',
      devices: production.connectionsMax,
      remedy,
    },
    { what: 'CPU of one ingest-ws', devices: devicesWithin(fleet, assumptions.utilisation, cores), remedy },
    {
      what: `CPU of one ingest-ws when all devices reconnect within ${fleet.reconnectSeconds} s`,
      devices: devicesWithin(fleet, assumptions.stormUtilisation, (of) => cores(of) + reconnectCores(of)),
      remedy,
    },
  ];
}

function brokerLimits(fleet: Fleet, costs: Costs): Limit[] {
  const { broker } = costs.fleet(fleet.readingsPerMessage);
  const outageSeconds = fleet.outageMinutes * 60;
  const envelopes = (of: Fleet) => envelopesOf(of, 1, defaults);
  return [
    {
      what: 'CPU of the leader of the one work queue',
      devices: devicesWithin(fleet, assumptions.utilisation, (of) => {
        const { perSecond, readingsEach } = envelopes(of);
        return (perSecond * cpuMicros(broker, readingsEach)) / 1e6;
      }),
      remedy: 'several queues, by hash of the device',
    },
    {
      what: `bytes in the work queue after ${fleet.outageMinutes} min without Postgres`,
      devices: devicesWithin(
        fleet,
        production.queueBytesMax,
        (of) => readingsPerSecond(of) * outageSeconds * costs.envelopeBytes(of.readingsPerMessage),
      ),
      remedy: 'several queues, or a larger bound',
    },
    {
      what: `messages in the work queue after ${fleet.outageMinutes} min without Postgres`,
      devices: devicesWithin(fleet, production.queueMessagesMax, (of) => envelopes(of).perSecond * outageSeconds),
      remedy: 'a longer linger, several queues, or a larger bound',
    },
  ];
}

function workerLimits(fleet: Fleet, costs: Costs): Limit[] {
  const { worker } = costs.fleet(fleet.readingsPerMessage);
  return [
    {
      what: 'CPU of one persistence-worker',
      devices: devicesWithin(fleet, assumptions.utilisation, (of) => (readingsPerSecond(of) * worker.perReading) / 1e6),
      remedy: 'more workers',
    },
    {
      what: 'streams whose keys one persistence-worker caches (beyond, each costs a look-up)',
      devices: production.streamsRemembered,
      remedy: 'several queues, by hash of the device, and a worker for each',
    },
  ];
}

function databaseLimits(fleet: Fleet, costs: Costs): Limit[] {
  const { utilisation, databaseCores, databaseLogBytesPerSecond, databaseDiskBytes, databaseBytes } = assumptions;
  const within = (capacity: number, use: (load: DatabaseLoad) => number) =>
    devicesWithin(fleet, capacity * utilisation, (of) => use(databaseLoad(of, costs, 1)));
  return [
    {
      what: `CPU of one Postgres with ${databaseCores} cores`,
      devices: within(databaseCores, ({ cores }) => cores),
      remedy: 'several, by hash of the device (Citus)',
    },
    {
      what: `write-ahead log of one Postgres, ${databaseLogBytesPerSecond / 2 ** 20} MiB/s`,
      devices: within(databaseLogBytesPerSecond, ({ walBytesPerSecond }) => walBytesPerSecond),
      remedy: 'less frequent checkpoints; then several, by hash of the device (Citus)',
    },
    {
      what: `disk of one Postgres, ${databaseDiskBytes / 2 ** 40} TiB, ${fleet.retentionDays} days`,
      devices: within(databaseDiskBytes, ({ bytes }) => bytes),
      remedy: 'compressed chunks (TimescaleDB), or several (Citus)',
    },
    {
      what: `memory of one Postgres for the pages that are updated continually, ${databaseBytes / 2 ** 30} GiB`,
      devices: within(databaseBytes, ({ hotBytes }) => hotBytes),
      remedy: 'several, by hash of the device (Citus)',
    },
  ];
}

function schemaLimits(fleet: Fleet, costs: Costs): Limit[] {
  return [
    {
      what: `a weekly partition of ${partitionBytesMax / 2 ** 40} TiB`,
      devices: devicesWithin(fleet, partitionBytesMax, (of) => databaseLoad(of, costs, 1).bytesPerDay * partitionDays),
      remedy: 'daily partitions',
    },
    {
      what: `stream keys (int4) after ${streamYears} years`,
      devices: Math.floor(int4Max / (fleet.bootsPerDay * 365 * streamYears)),
      remedy: 'int8, or one database per cell',
    },
  ];
}

/** The largest fleet of such devices whose use, which grows with the devices, is within the bound. */
function devicesWithin(fleet: Fleet, bound: number, useOf: (fleet: Fleet) => number): number {
  return least((devices) => useOf({ ...fleet, devices }) > bound) - 1;
}
