import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { dirname, join } from 'node:path';
import type { BackingMode } from '@fleetwire/backing-services/backing-services';
import { startTemporaryBackingServices } from '@fleetwire/backing-services/temporary';
import { createLogger } from '@fleetwire/service-kit/logger';
import { type Measurement, measure } from './measurement.ts';
import { type Summary, bars, summarise, table } from './report.ts';
import { compareValidators } from './validators.ts';

export type BenchSettings = {
  readonly runs: number;
  readonly seconds: number;
  readonly devices: number;
  readonly inFlight: number;
  readonly frames: readonly number[];
  readonly backing: BackingMode;
  readonly out?: string;
  readonly assert: boolean;
};

const stateDir = new URL('../../../.fleetwire/', import.meta.url).pathname;

/** Measures, prints one table, writes one JSON file. @returns whether every bar was passed */
export async function bench(settings: BenchSettings): Promise<boolean> {
  const startedAt = new Date();
  const stamp = startedAt.toISOString().replaceAll(':', '-').slice(0, 19);
  const out = settings.out ?? join(stateDir, 'bench', `${stamp}.json`);
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const validators = compareValidators();
  const logger = await createLogger({ name: 'bench', level: 'warn' });

  await using services = await startTemporaryBackingServices({ mode: settings.backing, parentDir: stateDir, log: say });
  const measured: Measurement[][] = settings.frames.map(() => []);
  for (let run = 1; run <= settings.runs; run += 1) {
    for (const [index, readingsPerFrame] of settings.frames.entries()) {
      const { seconds, devices, inFlight } = settings;
      const logDir = join(stateDir, 'bench', 'logs', stamp);
      const measurement = await measure({
        services,
        readingsPerFrame,
        devices,
        seconds,
        readingsInFlight: inFlight,
        logDir,
        logger,
      });
      measured[index]!.push(measurement);
      const { readingsPerSecond, databaseFloor, ofDatabaseFloor, othersCpuShare } = measurement;
      say(
        `run ${run}: ${readingsPerFrame} a frame: ${Math.round(readingsPerSecond)}/s of a floor of ${Math.round(databaseFloor)}/s: ${ofDatabaseFloor.toFixed(2)}` +
          ` (others took ${Math.round(othersCpuShare * 100)} % of the CPU)`,
      );
    }
  }

  const summaries: Summary[] = measured.map(summarise);
  const machine = { cpus: availableParallelism(), model: cpus()[0]?.model, node: process.version };
  const backing = services.describe().map(({ what, version }) => `${what} ${version}`);
  await mkdir(dirname(out), { recursive: true });
  await writeFile(
    out,
    `${JSON.stringify({ startedAt, settings, machine, backing, kind: services.kind, bars, summaries, validators, runs: measured.flat() }, undefined, 2)}\n`,
  );
  process.stdout.write(
    `\n${backing.join(', ')} (${services.kind.rabbitmq}), ${machine.cpus} CPUs; medians of ${settings.runs} runs of ${settings.seconds} s\n\n`,
  );
  process.stdout.write(`${table(summaries, validators)}\n\nwritten to ${out}\n`);
  return summaries.every(({ verdict }) => verdict === 'pass');
}
