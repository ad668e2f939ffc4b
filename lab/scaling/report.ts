import { type Tuning, asDelivered, assumptions, forMillions } from './assumptions.ts';
import { type Needs, needsOf } from './capacity.ts';
import { type Kind, hashImbalance, ringImbalance } from './cells.ts';
import { type CostId, costConditions, costFigure, costLabel } from '../bench/cost-figures.ts';
import type { CostMeasurement, MeasuredCost } from './cost-table.ts';
import type { Costs } from './costs.ts';
import { fleetOf, messagesPerSecond } from './fleet.ts';
import { limitsOf } from './limits.ts';
import { bytes, digits, markdownTable, percent } from './markdown.ts';
import { type Plan, brokerNodeLoss, calm, databaseOutage, fleetReconnects, ingestLoss } from './scenarios.ts';
import type { Wait } from './simulation/wait.ts';
import { type Validation, validate } from './validation.ts';

/** Of 100 million devices, how many share one broker cluster and the databases behind it. */
const cellDevices = 1_000_000;
const scales = [10_000, cellDevices, 100_000_000];

/** By the names of their places in docs/scaling.md. */
export type Sections = Readonly<Record<'costs' | 'limits' | 'needs' | 'validation' | 'simulation' | 'cells', string>>;

/** @param say told what is being done, as some of it takes a while */
export function report(table: readonly CostMeasurement[], costs: Costs, say: (line: string) => void): Sections {
  say('the machine of the bench');
  const validation = validate(costs);
  const plan = (devices: number, needs: Needs, tuning: Tuning): Plan => {
    return { fleet: fleetOf(devices), needs, costs, calibration: validation.calibration, tuning };
  };
  const small = needsOf(fleetOf(scales[0]!), costs, asDelivered);
  const cell = needsOf(fleetOf(cellDevices), costs, forMillions);
  const tuned = plan(cellDevices, cell, forMillions);
  const plans = {
    '10,000 devices': plan(scales[0]!, small, asDelivered),
    '1,000,000 devices, settings as delivered': plan(cellDevices, cell, asDelivered),
    '1,000,000 devices, settings for millions': tuned,
  };
  return {
    costs: costSection(table),
    limits: limitSection(costs),
    needs: needSection(costs),
    validation: validationSection(validation),
    simulation: simulationSection(plans, say),
    cells: cellSection(tuned, say),
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
    ['devices', 'what comes to its end', 'what helps'],
    ...limitsOf(fleetOf(1), costs).map(({ what, devices, remedy }) => [digits(devices), what, remedy]),
  ]);
}

function needSection(costs: Costs): string {
  const columns = scales.map((devices) => {
    const cells = Math.ceil(devices / cellDevices);
    const fleet = fleetOf(devices / cells);
    const tuning = fleet.devices < cellDevices ? asDelivered : forMillions;
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
    ['', ...columns.map(({ devices }) => `${digits(devices)} devices`)],
    row('messages/s', ({ devices }) => digits(messagesPerSecond(fleetOf(devices)))),
    row('cells', ({ cells }) => digits(cells)),
    row('`ENVELOPE_LINGER_MS`, `PREFETCH`', ({ tuning }) =>
      [tuning.envelopeLingerMs, tuning.prefetch].map(digits).join(', '),
    ),
    row(
      '**ingest-ws**',
      whole(({ ingest }) => ingest.instances),
    ),
    row('by CPU, sockets, memory, reconnecting; of a cell', ({ needs: { ingest } }) =>
      [ingest.byCpu, ingest.bySockets, ingest.byMemory, ingest.byStorm].map(digits).join(', '),
    ),
    row('sockets each', ({ needs }) => digits(needs.ingest.socketsEach)),
    row('memory each', ({ needs }) => bytes(needs.ingest.bytesEach)),
    row(
      '**RabbitMQ nodes**',
      whole(({ broker }) => broker.nodes),
    ),
    row(
      'work queues',
      whole(({ broker }) => broker.queues),
    ),
    row('by leader, outage, streams; of a cell', ({ needs: { broker } }) =>
      [broker.byLeader, broker.byOutage, broker.byStreams].map(digits).join(', '),
    ),
    row(
      'envelopes/s',
      whole(({ broker }) => broker.envelopes.perSecond),
    ),
    row('readings an envelope', ({ needs }) => digits(needs.broker.envelopes.readingsEach)),
    row(
      'disk for the outage, all replicas',
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
    row('by CPU, log, disk, memory; of a cell', ({ needs: { database } }) =>
      [database.byCpu, database.byLog, database.byDisk, database.byMemory].map(digits).join(', '),
    ),
    row(
      'cores busy',
      whole(({ database }) => database.cores),
    ),
    row(
      'write-ahead log/s',
      wholeBytes(({ database }) => database.walBytesPerSecond),
    ),
    row(
      'rows a day',
      wholeBytes(({ database }) => database.bytesPerDay),
    ),
    row(
      'rows within retention, once',
      wholeBytes(({ database }) => database.bytes),
    ),
    row(
      'written to again and again',
      wholeBytes(({ database }) => database.hotBytes),
    ),
    row(
      'ledger of identities, a year',
      wholeBytes(({ database }) => database.ledgerBytesPerYear),
    ),
    row('network in / out, /s', ({ cells, needs: { network } }) =>
      [network.inBytesPerSecond, network.outBytesPerSecond].map((value) => bytes(value * cells)).join(' / '),
    ),
    row('cores to buy, with a replica of each Postgres', whole(cores)),
  ]);
}

function validationSection({ calibration, predictions }: Validation): string {
  return [
    markdownTable([
      ['', 'measured', 'simulated', 'off by'],
      ...predictions.map(({ figure, unit, measured, predicted }) => [
        figure,
        `${digits(measured)} ${unit}`,
        `${digits(predicted)} ${unit}`,
        `${predicted >= measured ? '+' : '−'}${Math.abs(Math.round((predicted / measured - 1) * 100))} %`,
      ]),
    ]),
    '',
    `Beside CPU time a confirm takes ${waitText(calibration.confirm)}, a commit ${waitText(calibration.commit)}: from the calm machine.`,
  ].join('\n');
}

function waitText({ leastMs, meanMs }: Wait): string {
  return `${leastMs.toFixed(1)} ms and, on average, ${meanMs.toFixed(1)} ms more`;
}

function simulationSection(plans: Readonly<Record<string, Plan>>, say: (line: string) => void): string {
  const columns = Object.entries(plans).map(([name, plan]) => {
    const told = <T>(what: string, run: () => T): T => {
      say(`${name}: ${what}`);
      return run();
    };
    return {
      name,
      calm: told('an ordinary minute', () => calm(plan)),
      outage: told('Postgres away', () => databaseOutage(plan)),
      loss: told('an ingest-ws lost', () => ingestLoss(plan)),
      storm: told('all connect again', () => fleetReconnects(plan)),
      node: told('a node of RabbitMQ lost', () => brokerNodeLoss(plan)),
    };
  });
  type Column = (typeof columns)[number];
  const row = (what: string, of: (column: Column) => string) => [what, ...columns.map(of)];
  const ms = (value: number) => `${digits(value)} ms`;
  return markdownTable([
    ['', ...columns.map(({ name }) => name)],
    row('busiest ingest-ws, leader, worker', ({ calm: c }) =>
      [c.ingestUtilisation, c.leaderUtilisation, c.workerUtilisation].map(percent).join(', '),
    ),
    row('busiest Postgres, cores', ({ calm: c }) => digits(c.databaseCoresBusy)),
    row('readings an envelope', ({ calm: c }) => digits(c.readingsPerEnvelope)),
    row('most readings in a queue', ({ calm: c }) => digits(c.queuedReadingsMost)),
    row('ack p50 / p99', ({ calm: c }) => `${ms(c.ackP50Ms)} / ${ms(c.ackP99Ms)}`),
    row('stored p50 / p99', ({ calm: c }) => `${ms(c.storedP50Ms)} / ${ms(c.storedP99Ms)}`),
    row('**Postgres away for 10 min**', ({ outage }) =>
      outage.isRefusing ? `refuses after ${digits(outage.seconds)} s` : 'nothing is refused',
    ),
    row('queued by then; of the bounds in bytes, messages', ({ outage }) =>
      [bytes(outage.queuedBytesMost), outage.ofBounds.map(percent).join(', ')].join('; '),
    ),
    row('back then: caught up after', ({ outage }) =>
      Number.isFinite(outage.catchUpSeconds) ? `${digits(outage.catchUpSeconds)} s` : 'never',
    ),
    row('ack p99 meanwhile', ({ outage }) => ms(outage.ackP99Ms)),
    row('**one ingest-ws lost**: devices, all back after', ({ loss }) =>
      [digits(loss.devices), `${digits(loss.withinSeconds)} s`].join(', '),
    ),
    row('ack p99 meanwhile', ({ loss }) => ms(loss.ackP99Ms)),
    row('**all sockets cut at once**: all back after', ({ storm }) => `${digits(storm.withinSeconds)} s`),
    row('ack p99 meanwhile', ({ storm }) => ms(storm.ackP99Ms)),
    row('**a RabbitMQ node lost**, 5 s without a leader: queues, of all', ({ node }) =>
      [digits(node.queues), percent(node.ofQueues)].join(', '),
    ),
    row('acknowledged meanwhile, the longest wait', ({ node }) =>
      [percent(node.ackedShare), ms(node.ackMostMs)].join(', '),
    ),
    row("most in one ingest-ws' buffer, of its bound", ({ node }) => percent(node.ofBuffer)),
  ]);
}

function cellSection(plan: Plan, say: (line: string) => void): string {
  const devices = scales.at(-1)!;
  const cells = devices / cellDevices;
  const alike: Kind[] = [{ devices, messagesPerSecond: 1 }];
  const gateways = (share: number): Kind[] => [
    { devices: devices * (1 - share), messagesPerSecond: 1 },
    { devices: devices * share, messagesPerSecond: 1 / share },
  ];
  const rows: [string, number][] = [
    ['hash of the device id, all alike', hashImbalance(alike, cells)],
    ['… half of the load from one device in 1,000', hashImbalance(gateways(1e-3), cells)],
    ['… half of the load from one device in 100,000', hashImbalance(gateways(1e-5), cells)],
    ['ring of hashes, each cell on it once', ringImbalance(cells, 1)],
    ['… 10 times', ringImbalance(cells, 10)],
    ['… 100 times', ringImbalance(cells, 100)],
  ];
  return markdownTable([
    [`busiest of ${digits(cells)} cells`, 'of the mean', 'its ingest-ws, leader, worker', 'stored p99'],
    ...rows.map(([name, imbalance]) => {
      say(`a cell with ${percent(imbalance)} of the mean`);
      const { ingestUtilisation, leaderUtilisation, workerUtilisation, storedP99Ms } = calm(plan, imbalance);
      return [
        name,
        imbalance.toFixed(3),
        [ingestUtilisation, leaderUtilisation, workerUtilisation].map(percent).join(', '),
        `${digits(storedP99Ms)} ms`,
      ];
    }),
  ]);
}
