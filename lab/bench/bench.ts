import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { BackingMode } from '@fleetwire/platform/servers/backing-services';
import { startTemporaryBackingServices } from '@fleetwire/platform/servers/temporary';
import { createLogger } from '@fleetwire/runtime/logger';
import { type Figure, figureTable, judge } from './figure.ts';
import { interruption } from './interruption.ts';
import { studyCommands } from './studies/commands.ts';
import { studyConnections } from './studies/connections.ts';
import { studyFleet } from './studies/fleet.ts';
import { studyGrowth } from './studies/growth.ts';
import { studyInstances } from './studies/instances.ts';
import { studyLive } from './studies/live.ts';
import { studyOutage } from './studies/outage.ts';
import { studyPast } from './studies/past.ts';
import { studyPeers } from './studies/peers.ts';
import { studyPresence } from './studies/presence.ts';
import { studyQuery } from './studies/query.ts';
import { studyReconnect } from './studies/reconnect.ts';
import { studyThroughput } from './studies/throughput.ts';
import type { Study, StudySettings } from './study.ts';

const studies = {
  throughput: studyThroughput,
  instances: studyInstances,
  growth: studyGrowth,
  connections: studyConnections,
  reconnect: studyReconnect,
  live: studyLive,
  presence: studyPresence,
  commands: studyCommands,
  outage: studyOutage,
  past: studyPast,
  query: studyQuery,
  peers: studyPeers,
  fleet: studyFleet,
} as const satisfies Record<string, Study>;

export type StudyName = keyof typeof studies;
export const studyNames = Object.keys(studies) as StudyName[];
/**
 * The studies without `--only`. Not among them: `peers`, whose packages `npm run bench:peers` installs, and `fleet`, whose figures have no
 * goals but are the input of docs/scaling.md.
 */
export const defaultStudies = studyNames.filter((name) => name !== 'peers' && name !== 'fleet');

export type BenchSettings = StudySettings & {
  readonly only: readonly StudyName[];
  readonly backing: BackingMode;
  readonly out?: string;
  readonly profile?: string;
};

const stateDir = new URL('../../.fleetwire/', import.meta.url).pathname;

/** Runs the studies, prints their figures and writes them to a JSON file. @returns whether every bar was reached */
export async function bench(settings: BenchSettings): Promise<boolean> {
  const startedAt = new Date();
  const stamp = startedAt.toISOString().replaceAll(':', '-').slice(0, 19);
  const out = settings.out ?? join(stateDir, 'bench', `${stamp}.json`);
  const log = (line: string) => process.stderr.write(`${line}\n`);
  const logger = await createLogger({ name: 'bench', level: 'warn' });

  await using services = await startTemporaryBackingServices({ mode: settings.backing, parentDir: stateDir, log });
  const context = {
    services,
    settings,
    logDir: join(stateDir, 'bench', 'logs', stamp),
    profileDir: settings.profile === undefined ? undefined : resolve(settings.profile),
    logger,
    log,
  };
  const interrupted = interruption(log);
  const machine = { cpus: availableParallelism(), model: cpus()[0]?.model, node: process.version };
  const backing = services.describe().map(({ what, version }) => `${what} ${version}`);
  const figures: Figure[] = [];
  const data: Record<string, unknown> = {};
  for (const name of settings.only) {
    log(`${name}:`);
    // Processes that an interrupted study has started end with this process.
    const result = await Promise.race([studies[name](context), interrupted]);
    figures.push(...result.figures);
    data[name] = result.data;
    if (result.details !== undefined) process.stdout.write(`\n${result.details}\n\n`);
  }

  await mkdir(dirname(out), { recursive: true });
  const judged = figures.map((figure) => ({ ...figure, ...judge(figure) }));
  const written = { startedAt, settings, machine, backing, kind: services.kind, figures: judged, studies: data };
  await writeFile(out, `${JSON.stringify(written, undefined, 2)}\n`);
  process.stdout.write(
    `\n${backing.join(', ')} (${services.kind.rabbitmq}), ${machine.cpus} CPUs; medians of ${settings.runs} run${settings.runs === 1 ? '' : 's'}\n\n` +
      `${figureTable(figures)}\n\nwritten to ${out}\n`,
  );
  return judged.every(({ verdict }) => verdict !== 'missed' && verdict !== 'disturbed');
}
