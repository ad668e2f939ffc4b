import { asDelivered, assumptions, production } from './assumptions.ts';
import { type Costs, cpuMicros } from './costs.ts';
import { databaseLoad } from './database-load.ts';
import { envelopesOf } from './envelopes.ts';
import { type Fleet, readingsPerSecond } from './fleet.ts';

/** Where one installation of everything, as it is delivered, comes to an end for one reason. */
export interface Limit {
  readonly what: string;
  /** As many devices it carries. */
  readonly devices: number;
  readonly remedy: string;
}

const int4Max = 2 ** 31 - 1;
const partitionBytesMax = 32 * 2 ** 40;
const partitionDays = 7;
const streamYears = 10;

/** @param fleet of any size: what its devices do counts. @returns the first to be reached first */
export function limitsOf(fleet: Fleet, costs: Costs): Limit[] {
  const { utilisation, stormUtilisation, databaseCores, databaseLogBytesPerSecond, databaseDiskBytes, databaseBytes } =
    assumptions;
  const path = costs.fleet(fleet.readingsPerMessage);
  const outageSeconds = fleet.outageMinutes * 60;
  const devicesUntil = (use: (fleet: Fleet) => number, most: number) =>
    largest((devices) => use({ ...fleet, devices }) <= most);
  const perSecond = (micros: number) => (of: Fleet) => (readingsPerSecond(of) * micros) / 1e6;
  const onOneNode = (pick: (load: ReturnType<typeof databaseLoad>) => number) => (of: Fleet) =>
    pick(databaseLoad(of, costs, 1));
  const envelopes = (of: Fleet) => envelopesOf(of, 1, asDelivered);
  const limits: Limit[] = [
    {
      what: 'sockets that one ingest-ws accepts (CONNECTIONS_MAX)',
      devices: production.connectionsMax,
      remedy: 'more instances',
    },
    {
      what: 'CPU of one ingest-ws',
      devices: devicesUntil(perSecond(path.ingest.perReading), utilisation),
      remedy: 'more instances',
    },
    {
      what: `all connecting again within ${fleet.reconnectSeconds} s, to one ingest-ws`,
      devices: devicesUntil(
        (of) =>
          perSecond(path.ingest.perReading)(of) + ((of.devices / of.reconnectSeconds) * costs.handshakeMicros) / 1e6,
        stormUtilisation,
      ),
      remedy: 'more instances',
    },
    {
      what: 'CPU of the leader of the one work queue',
      devices: devicesUntil((of) => {
        const { perSecond: rate, readingsEach } = envelopes(of);
        return (rate * cpuMicros(path.broker, readingsEach)) / 1e6;
      }, utilisation),
      remedy: 'several queues, by hash of the device',
    },
    {
      what: `bytes of the work queue after ${fleet.outageMinutes} min without Postgres`,
      devices: devicesUntil(
        (of) => readingsPerSecond(of) * outageSeconds * costs.envelopeBytes(of.readingsPerMessage),
        production.queueBytesMax,
      ),
      remedy: 'several queues, or a larger bound',
    },
    {
      what: `messages in the work queue after ${fleet.outageMinutes} min without Postgres`,
      devices: devicesUntil((of) => envelopes(of).perSecond * outageSeconds, production.queueMessagesMax),
      remedy: 'a longer linger, several queues, or a larger bound',
    },
    {
      what: 'CPU of one persistence-worker',
      devices: devicesUntil(perSecond(path.worker.perReading), utilisation),
      remedy: 'more workers',
    },
    {
      what: 'streams whose keys one persistence-worker remembers (it goes on, at the cost of a look-up)',
      devices: production.streamsRemembered,
      remedy: 'several queues, by hash of the device, and a worker for each',
    },
    {
      what: `CPU of one Postgres of ${databaseCores} cores`,
      devices: devicesUntil(
        onOneNode(({ cores }) => cores),
        databaseCores * utilisation,
      ),
      remedy: 'several, by hash of the device (Citus)',
    },
    {
      what: `write-ahead log of one Postgres, ${databaseLogBytesPerSecond / 2 ** 20} MiB/s`,
      devices: devicesUntil(
        onOneNode(({ walBytesPerSecond }) => walBytesPerSecond),
        databaseLogBytesPerSecond * utilisation,
      ),
      remedy: 'rarer checkpoints; then several, by hash of the device (Citus)',
    },
    {
      what: `disk of one Postgres, ${databaseDiskBytes / 2 ** 40} TiB, ${fleet.retentionDays} days`,
      devices: devicesUntil(
        onOneNode(({ bytes }) => bytes),
        databaseDiskBytes * utilisation,
      ),
      remedy: 'compressed chunks (TimescaleDB), or several (Citus)',
    },
    {
      what: `what is written to again and again, in ${databaseBytes / 2 ** 30} GiB of memory`,
      devices: devicesUntil(
        onOneNode(({ hotBytes }) => hotBytes),
        databaseBytes * utilisation,
      ),
      remedy: 'several, by hash of the device (Citus)',
    },
    {
      what: 'a weekly partition of 32 TiB',
      devices: devicesUntil(
        onOneNode(({ bytesPerDay }) => bytesPerDay * partitionDays),
        partitionBytesMax,
      ),
      remedy: 'partitions of a day',
    },
    {
      what: `keys of streams (int4), ${streamYears} years`,
      devices: Math.floor(int4Max / (fleet.bootsPerDay * 365 * streamYears)),
      remedy: 'int8, or one database a cell',
    },
  ];
  return limits.sort((a, b) => a.devices - b.devices);
}

/** The largest number for which something holds that holds for all smaller ones. */
function largest(holds: (count: number) => boolean): number {
  let yes = 0;
  let no = 1;
  while (holds(no) && no < Number.MAX_SAFE_INTEGER / 4) {
    yes = no;
    no *= 2;
  }
  while (no - yes > 1) {
    const middle = Math.floor((yes + no) / 2);
    if (holds(middle)) yes = middle;
    else no = middle;
  }
  return yes;
}
