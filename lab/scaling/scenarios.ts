import { backoffMs, deviceReconnectBackoff } from '@fleetwire/contracts/backoff';
import { type Tuning, assumptions, production } from './assumptions.ts';
import type { Needs } from './capacity.ts';
import type { Costs } from './costs.ts';
import { rowCosts } from './database-load.ts';
import { type Fleet, messagesPerSecond, readingsPerSecond } from './fleet.ts';
import type { Calibration } from './simulation/bench-machine.ts';
import { Site, type SiteOptions } from './simulation/site.ts';
import type { Wait } from './simulation/draws.ts';

export interface Plan {
  readonly fleet: Fleet;
  readonly needs: Needs;
  readonly costs: Costs;
  readonly calibration: Calibration;
  readonly tuning: Tuning;
}

const warmUpSeconds = 1;
const steadySeconds = 5;

export interface SteadyState {
  readonly ingestUtilisation: number;
  readonly leaderUtilisation: number;
  readonly workerUtilisation: number;
  readonly databaseCoresBusy: number;
  readonly readingsPerEnvelope: number;
  readonly queuedReadingsMost: number;
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
  readonly storedP50Ms: number;
  readonly storedP99Ms: number;
}

/** Normal operation. @param overload load ÷ mean load, of a cell that gets more than its share */
export function steadyState(plan: Plan, overload = 1): SteadyState {
  const options = siteOptions(plan);
  const site = new Site({ ...options, messagesPerSecond: options.messagesPerSecond * overload });
  site.runFor(warmUpSeconds);
  site.acked.reset();
  site.stored.reset();
  site.runFor(steadySeconds);
  const milliseconds = site.clock.now;
  const busiest = (cpuMs: readonly number[]) => Math.max(...cpuMs) / milliseconds;
  const envelopes = site.ingests.reduce((sum, ingest) => sum + ingest.envelopes, 0);
  return {
    ingestUtilisation: busiest(site.ingests.map(({ thread }) => thread.cpuMs)),
    leaderUtilisation: busiest(site.queues.map(({ leader }) => leader.cpuMs)),
    workerUtilisation: busiest(site.workers.map(({ thread }) => thread.cpuMs)),
    databaseCoresBusy: busiest(site.databases.map(({ cpuMs }) => cpuMs)),
    readingsPerEnvelope: (readingsPerSecond(plan.fleet) * overload * milliseconds) / 1_000 / envelopes,
    queuedReadingsMost: Math.max(...site.queues.map(({ readingsMost }) => readingsMost)),
    ackP50Ms: site.acked.percentile(50),
    ackP99Ms: site.acked.percentile(99),
    storedP50Ms: site.stored.percentile(50),
    storedP99Ms: site.stored.percentile(99),
  };
}

export interface Outage {
  /** Until Postgres was available again, or the first reading was refused. */
  readonly seconds: number;
  readonly isRefusing: boolean;
  readonly queuedBytesMost: number;
  /** Shares of the queue's bounds: bytes, messages. */
  readonly sharesOfBounds: readonly number[];
  /** Time to store the backlog; infinite if more arrives than is stored. */
  readonly catchUpSeconds: number;
  readonly ackP99Ms: number;
}

const outageTickMs = 5;

/**
 * Postgres is unavailable until the end of the outage, or until a queue is full: what happens after that depends on the retries of devices. One
 * queue is simulated for all, because they are equal: with its share of every ingest-ws, and of its Postgres.
 */
export function databaseOutage(plan: Plan): Outage {
  const whole = siteOptions(plan);
  const site = new Site({
    ...whole,
    messagesPerSecond: whole.messagesPerSecond / whole.queues,
    queues: 1,
    workers: Math.max(1, Math.floor(whole.workers / whole.queues)),
    databases: 1,
    databaseCores: (whole.databaseCores * whole.databases) / whole.queues,
    tickMs: outageTickMs,
  });
  const [database] = site.databases;
  const [queue] = site.queues;
  const isRefusing = () => site.ingests.some(({ nackedReadings }) => nackedReadings > 0);
  site.runFor(warmUpSeconds);
  site.acked.reset();
  database!.stop();
  site.runUntil(isRefusing, 1, plan.fleet.outageMinutes * 60);
  const outage = {
    seconds: site.clock.now / 1_000 - warmUpSeconds,
    isRefusing: isRefusing(),
    queuedBytesMost: queue!.bytesMost * whole.queues,
    sharesOfBounds: [queue!.bytesMost / production.queueBytesMax, queue!.messagesMost / production.queueMessagesMax],
    ackP99Ms: site.acked.percentile(99),
  };
  database!.resume();
  const backlog = queue!.readings;
  site.runFor(production.holdCapMs / 1_000);
  const arriving = readingsPerSecond(plan.fleet) / whole.queues;
  return { ...outage, catchUpSeconds: backlog / Math.max(0, drainRate(site) - arriving) };
}

const drainSeconds = 20;

/** @returns readings per second that the workers store while there is a backlog */
function drainRate(site: Site): number {
  const stored = () => site.workers.reduce((sum, { storedReadings }) => sum + storedReadings, 0);
  const [from, storedBefore] = [site.clock.now, stored()];
  site.runUntil(() => site.queues.every(({ readings }) => readings <= production.batchReadingsMax), 0.1, drainSeconds);
  return ((stored() - storedBefore) * 1_000) / (site.clock.now - from);
}

export interface Reconnection {
  readonly devices: number;
  readonly withinSeconds: number;
  readonly ackP99Ms: number;
}

/** One ingest-ws is lost; its devices reconnect to the others after the backoff of the device protocol. */
export function ingestLoss(plan: Plan): Reconnection {
  const site = new Site(siteOptions(plan));
  site.runFor(warmUpSeconds);
  const [lost] = site.ingests;
  site.lose(lost!);
  return reconnect(site, Math.ceil(plan.fleet.devices / site.ingests.length));
}

/** All sockets are closed at the same moment, as by a load balancer. */
export function fleetReconnects(plan: Plan): Reconnection {
  const site = new Site(siteOptions(plan));
  site.runFor(warmUpSeconds);
  return reconnect(site, plan.fleet.devices);
}

const reconnectSecondsMax = 600;

function reconnect(site: Site, devices: number): Reconnection {
  const { clock, random, present } = site;
  const from = clock.now;
  let connected = 0;
  let lastAt = from;
  site.acked.reset();
  for (let device = 0; device < devices; device += 1) {
    clock.after(backoffMs(deviceReconnectBackoff, 1, random()), () => {
      present[Math.floor(random() * present.length)]!.handshake(() => {
        connected += 1;
        lastAt = clock.now;
      });
    });
  }
  site.runUntil(() => connected === devices, 0.1, reconnectSecondsMax);
  if (connected < devices)
    throw new Error(`${connected} of ${devices} devices have reconnected after ${reconnectSecondsMax} s`);
  const ackP99Ms = site.acked.percentile(99);
  return { devices, withinSeconds: (lastAt - from) / 1_000, ackP99Ms };
}

export interface NodeLoss {
  readonly queues: number;
  /** Share of all queues. */
  readonly shareOfQueues: number;
  /** Share of the readings sent during the election that is acknowledged by its end. */
  readonly ackedShare: number;
  readonly ackMostMs: number;
  /** Share of one ingest-ws' buffer: from a half it stops reading, at the whole it refuses. */
  readonly shareOfBuffer: number;
}

/** A node of RabbitMQ is lost, and with it the leaders of its share of the queues; others are elected. */
export function brokerNodeLoss(plan: Plan): NodeLoss {
  const { electionMs, brokerReplicas } = assumptions;
  const site = new Site(siteOptions(plan));
  site.runFor(warmUpSeconds);
  site.acked.reset();
  const leaderless = site.queues.slice(0, Math.ceil(site.queues.length / brokerReplicas));
  for (const queue of leaderless) queue.loseLeader(electionMs);
  site.runFor(electionMs / 1_000);
  const ackedShare = site.acked.count / ((readingsPerSecond(plan.fleet) * electionMs) / 1_000);
  site.runFor(steadySeconds);
  return {
    queues: leaderless.length,
    shareOfQueues: leaderless.length / site.queues.length,
    ackedShare,
    ackMostMs: site.acked.mostMs,
    shareOfBuffer:
      Math.max(...site.ingests.map(({ bufferedBytesMost }) => bufferedBytesMost)) / production.bufferBytesMax,
  };
}

const tickMs = 1;

function siteOptions({ fleet, needs, costs, calibration, tuning }: Plan): SiteOptions {
  const path = costs.fleet(fleet.readingsPerMessage);
  const { cpuMicros } = rowCosts(costs, fleet.devices / needs.database.nodes);
  return {
    costs: { ...path, database: { ...path.database, perReading: cpuMicros } },
    handshakeMicros: costs.handshakeMicros,
    tuning,
    messagesPerSecond: messagesPerSecond(fleet),
    readingsPerMessage: fleet.readingsPerMessage,
    bytesPerReading: costs.envelopeBytes(fleet.readingsPerMessage),
    ingests: needs.ingest.instances,
    queues: needs.broker.queues,
    workers: needs.workers.workers - 1,
    databases: needs.database.nodes,
    databaseCores: assumptions.databaseCores,
    confirm: acrossNetwork(calibration.confirm),
    commit: acrossNetwork(calibration.commit),
    tickMs,
  };
}

function acrossNetwork({ leastMs, meanMs }: Wait): Wait {
  return { leastMs: leastMs + assumptions.networkMs, meanMs };
}
