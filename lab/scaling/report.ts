import { type Tuning, defaults, assumptions, forMillions } from './assumptions.ts';
import { type Needs, needsOf } from './capacity.ts';
import { type Kind, hashImbalance, ringImbalance } from './cells.ts';
import { type CostId, costConditions, costFigure, costLabel } from '../bench/cost-figures.ts';
import type { CostMeasurement, MeasuredCost } from './cost-table.ts';
import type { Costs } from './costs.ts';
import { fleetOf, messagesPerSecond } from './fleet.ts';
import { limitsOf } from './limits.ts';
import { bytes, digits, markdownTable, percent } from './markdown.ts';
import { type Plan, brokerNodeLoss, databaseOutage, fleetReconnects, ingestLoss, steadyState } from './scenarios.ts';
import type { Wait } from './simulation/draws.ts';
import { type Validation, validate } from './validation.ts';

/** Devices that share one broker cluster and its databases, when a fleet is split into cells. */
const cellDevices = 1_000_000;
const scales = [10_000, cellDevices, 100_000_000];

/** By the names of their markers in docs/scaling.md. */
export type Sections = Readonly<Record<'costs' | 'limits' | 'needs' | 'validation' | 'simulation' | 'cells', string>>;

/** @param log called with a line of progress before each long step */
export function report(table: readonly CostMeasurement[], costs: Costs, log: (line: string) => void): Sections {
  log('simulating the machine of the bench');
  const validation = validate(costs);
  const plan = (devices: number, needs: Needs, tuning: Tuning): Plan => {
    return { fleet: fleetOf(devices), needs, costs, calibration: validation.calibration, tuning };
  };
  const small = needsOf(fleetOf(scales[0]!), costs, defaults);
  const cell = needsOf(fleetOf(cellDevices), costs, forMillions);
  const tuned = plan(cellDevices, cell, forMillions);
  const plans = {
    '10,000 devices': plan(scales[0]!, small, defaults),
    '1,000,000 devices, default settings': plan(cellDevices, cell, defaults),
    '1,000,000 devices, settings for millions': tuned,
  };
  return {
    costs: costSection(table),
    limits: limitSection(costs),
    needs: needSection(costs),
    validation: validationSection(validation),
    simulation: simulationSection(plans, log),
    cells: cellSection(tuned, log),
  };
}

/** Costs of the whole path, of the tables alone, and all others: the first two as tables by their conditions. */
function costSection(table: readonly CostMeasurement[]): string {
  const figures = table.flatMap((measurement) => measurement.figures);
  const isPath = ({ devices, readingsPerFrame }: CostId) => devices !== undefined && readingsPerFrame !== undefined;
  const isTable = ({ storedPerDevice }: CostId) => storedPerDevice !== undefined;
  const others = figures.filter(({ id }) => !isPath(id) && !isTable(id));
  const sources = table.map(({ measuredOn, machine, runs }) => `${measuredOn}, ${machine}, runs: ${runs}`);
  return [
    `${sources.join('; ')}.`,
    matrix(
      'whole path',
      figures.filter(({ id }) => isPath(id)),
    ),
    matrix(
      'batch writer and Postgres',
      figures.filter(({ id }) => isTable(id)),
    ),
    markdownTable([
      ['other costs', 'value'],
      ...others.map(({ id, value, unit }) => [costFigure(id).name, `${digits(value)} ${unit}`]),
    ]),
  ].join('\n\n');
}

/** One row per quantity, one column per set of conditions. */
function matrix(title: string, figures: readonly MeasuredCost[]): string {
  const columns = [...new Set(figures.map(({ id }) => costConditions(id)))];
  const rows = Map.groupBy(figures, ({ id, unit }) => `${costLabel(id)}, ${unit}`);
  const cell = (row: readonly MeasuredCost[], column: string) => {
    const figure = row.find(({ id }) => costConditions(id) === column);
    return figure === undefined ? '' : digits(figure.value);
  };
  return markdownTable([
    [title, ...columns],
    ...[...rows].map(([label, row]) => [label, ...columns.map((column) => cell(row, column))]),
  ]);
}

function limitSection(costs: Costs): string {
  return markdownTable([
    ['devices', 'limit', 'remedy'],
    ...limitsOf(fleetOf(1), costs).map(({ what, devices, remedy }) => [digits(devices), what, remedy]),
  ]);
}

function needSection(costs: Costs): string {
  const columns = scales.map((devices) => {
    const cells = Math.ceil(devices / cellDevices);
    const fleet = fleetOf(devices / cells);
    const tuning = fleet.devices < cellDevices ? defaults : forMillions;
    return { devices, cells, tuning, needs: needsOf(fleet, costs, tuning) };
  });
  type Column = (typeof columns)[number];
  const row = (what: string, of: (column: Column) => string) => [what, ...columns.map(of)];
  const whole = (of: (needs: Needs) => number) => (column: Column) => digits(of(column.needs) * column.cells);
  const wholeBytes = (of: (needs: Needs) => number) => (column: Column) => bytes(of(column.needs) * column.cells);
  const cores = ({ ingest, broker, workers, database }: Needs) =>
    ingest.instances +
    broker.nodes * assumptions.brokerCores +
    workers.workers +
    database.nodes * assumptions.replicasOfDatabase * assumptions.databaseCores;
  return markdownTable([
    ['fleet', ...columns.map(({ devices }) => `${digits(devices)} devices`)],
    row('messages/s', ({ devices }) => digits(messagesPerSecond(fleetOf(devices)))),
    row('cells', ({ cells }) => digits(cells)),
    row('`ENVELOPE_LINGER_MS`, `PREFETCH`', ({ tuning }) =>
      [tuning.envelopeLingerMs, tuning.prefetch].map(digits).join(', '),
    ),
    row(
      '**ingest-ws**',
      whole(({ ingest }) => ingest.instances),
    ),
    row('per cell by CPU, sockets, memory, reconnection', ({ needs: { ingest } }) =>
      [ingest.byCpu, ingest.bySockets, ingest.byMemory, ingest.byStorm].map(digits).join(', '),
    ),
    row('sockets per instance', ({ needs }) => digits(needs.ingest.socketsEach)),
    row('memory per instance', ({ needs }) => bytes(needs.ingest.bytesEach)),
    row(
      '**RabbitMQ nodes**',
      whole(({ broker }) => broker.nodes),
    ),
    row(
      'work queues',
      whole(({ broker }) => broker.queues),
    ),
    row('per cell by leader CPU, outage, streams', ({ needs: { broker } }) =>
      [broker.byLeader, broker.byOutage, broker.byStreams].map(digits).join(', '),
    ),
    row(
      'envelopes/s',
      whole(({ broker }) => broker.envelopes.perSecond),
    ),
    row('readings per envelope', ({ needs }) => digits(needs.broker.envelopes.readingsEach)),
    row(
      'disk space for an outage, all replicas',
      wholeBytes(({ broker }) => broker.outageBytes),
    ),
    row(
      '**persistence-worker**',
      whole(({ workers }) => workers.workers),
    ),
    row(
      '**Postgres writers**',
      whole(({ database }) => database.nodes),
    ),
    row('per cell by CPU, log, disk, memory', ({ needs: { database } }) =>
      [database.byCpu, database.byLog, database.byDisk, database.byMemory].map(digits).join(', '),
    ),
    row(
      'busy cores of Postgres',
      whole(({ database }) => database.cores),
    ),
    row(
      'write-ahead log/s',
      wholeBytes(({ database }) => database.walBytesPerSecond),
    ),
    row(
      'rows per day',
      wholeBytes(({ database }) => database.bytesPerDay),
    ),
    row(
      'rows within retention, one copy',
      wholeBytes(({ database }) => database.bytes),
    ),
    row(
      'pages updated continually',
      wholeBytes(({ database }) => database.hotBytes),
    ),
    row(
      'growth of the sequence ledger per year',
      wholeBytes(({ database }) => database.ledgerBytesPerYear),
    ),
    row('network in / out, per second', ({ cells, needs: { network } }) =>
      [network.inBytesPerSecond, network.outBytesPerSecond].map((value) => bytes(value * cells)).join(' / '),
    ),
    row('cores in total, with a replica of each Postgres', whole(cores)),
  ]);
}

function validationSection({ calibration, predictions }: Validation): string {
  return [
    markdownTable([
      ['figure', 'measured', 'simulated', 'error'],
      ...predictions.map(({ figure, unit, measured, predicted }) => [
        figure,
        `${digits(measured)} ${unit}`,
        `${digits(predicted)} ${unit}`,
        `${predicted >= measured ? '+' : '−'}${Math.abs(Math.round((predicted / measured - 1) * 100))} %`,
      ]),
    ]),
    '',
    `Fitted to the latencies at low load: beside CPU time, a confirm waits ${waitText(calibration.confirm)}, a commit ${waitText(calibration.commit)}.`,
  ].join('\n');
}

function waitText({ leastMs, meanMs }: Wait): string {
  return `${leastMs.toFixed(1)} ms plus ${meanMs.toFixed(1)} ms on average`;
}

function simulationSection(plans: Readonly<Record<string, Plan>>, log: (line: string) => void): string {
  const columns = Object.entries(plans).map(([name, plan]) => {
    const logged = <T>(what: string, run: () => T): T => {
      log(`simulating ${name}: ${what}`);
      return run();
    };
    return {
      name,
      steady: logged('normal operation', () => steadyState(plan)),
      outage: logged('Postgres unavailable', () => databaseOutage(plan)),
      loss: logged('loss of an ingest-ws', () => ingestLoss(plan)),
      storm: logged('all devices reconnect', () => fleetReconnects(plan)),
      node: logged('loss of a RabbitMQ node', () => brokerNodeLoss(plan)),
    };
  });
  type Column = (typeof columns)[number];
  const row = (what: string, of: (column: Column) => string) => [what, ...columns.map(of)];
  const ms = (value: number) => `${digits(value)} ms`;
  return markdownTable([
    ['scenario', ...columns.map(({ name }) => name)],
    row('**normal operation**: CPU of the busiest ingest-ws, leader, worker', ({ steady: c }) =>
      [c.ingestUtilisation, c.leaderUtilisation, c.workerUtilisation].map(percent).join(', '),
    ),
    row('busy cores of the busiest Postgres', ({ steady: c }) => digits(c.databaseCoresBusy)),
    row('readings per envelope', ({ steady: c }) => digits(c.readingsPerEnvelope)),
    row('readings in a queue at most', ({ steady: c }) => digits(c.queuedReadingsMost)),
    row('ack p50 / p99', ({ steady: c }) => `${ms(c.ackP50Ms)} / ${ms(c.ackP99Ms)}`),
    row('stored p50 / p99', ({ steady: c }) => `${ms(c.storedP50Ms)} / ${ms(c.storedP99Ms)}`),
    row('**Postgres unavailable for 10 min**', ({ outage }) =>
      outage.isRefusing ? `refuses after ${digits(outage.seconds)} s` : 'nothing is refused',
    ),
    row('queued at its end; share of the bounds in bytes, messages', ({ outage }) =>
      [bytes(outage.queuedBytesMost), outage.sharesOfBounds.map(percent).join(', ')].join('; '),
    ),
    row('backlog stored after', ({ outage }) =>
      Number.isFinite(outage.catchUpSeconds) ? `${digits(outage.catchUpSeconds)} s` : 'never',
    ),
    row('ack p99 during the outage', ({ outage }) => ms(outage.ackP99Ms)),
    row('**loss of one ingest-ws**: devices, all reconnected after', ({ loss }) =>
      [digits(loss.devices), `${digits(loss.withinSeconds)} s`].join(', '),
    ),
    row('ack p99 during the reconnection', ({ loss }) => ms(loss.ackP99Ms)),
    row(
      '**loss of all sockets at the same moment**: all reconnected after',
      ({ storm }) => `${digits(storm.withinSeconds)} s`,
    ),
    row('ack p99 during the reconnection', ({ storm }) => ms(storm.ackP99Ms)),
    row('**loss of a RabbitMQ node**, 5 s without a leader: queues, share of all', ({ node }) =>
      [digits(node.queues), percent(node.shareOfQueues)].join(', '),
    ),
    row('acknowledged during the 5 s, longest ack', ({ node }) =>
      [percent(node.ackedShare), ms(node.ackMostMs)].join(', '),
    ),
    row('fullest buffer of an ingest-ws, share of its bound', ({ node }) => percent(node.shareOfBuffer)),
  ]);
}

function cellSection(plan: Plan, log: (line: string) => void): string {
  const devices = scales.at(-1)!;
  const cells = devices / cellDevices;
  const alike: Kind[] = [{ devices, messagesPerSecond: 1 }];
  const gateways = (share: number): Kind[] => [
    { devices: devices * (1 - share), messagesPerSecond: 1 },
    { devices: devices * share, messagesPerSecond: 1 / share },
  ];
  const rows: [string, number][] = [
    ['hash of the device id, all devices equal', hashImbalance(alike, cells)],
    ['… half of the load from one device in 1,000', hashImbalance(gateways(1e-3), cells)],
    ['… half of the load from one device in 100,000', hashImbalance(gateways(1e-5), cells)],
    ['hash ring, each cell on it once', ringImbalance(cells, 1)],
    ['… 10 times', ringImbalance(cells, 10)],
    ['… 100 times', ringImbalance(cells, 100)],
  ];
  return markdownTable([
    [`assignment to ${digits(cells)} cells`, 'busiest ÷ mean', 'CPU of its ingest-ws, leader, worker', 'stored p99'],
    ...rows.map(([name, imbalance]) => {
      log(`simulating a cell with ${percent(imbalance)} of the mean load`);
      const { ingestUtilisation, leaderUtilisation, workerUtilisation, storedP99Ms } = steadyState(plan, imbalance);
      return [
        name,
        imbalance.toFixed(3),
        [ingestUtilisation, leaderUtilisation, workerUtilisation].map(percent).join(', '),
        `${digits(storedP99Ms)} ms`,
      ];
    }),
  ]);
}
