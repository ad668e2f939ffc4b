import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Runs in a folder that has only these files. */
export type Promtool = (args: readonly string[], files: Readonly<Record<string, string>>) => SpawnSyncReturns<string>;

/** `promtool` from the PATH, or from the Prometheus image if it has been pulled; undefined if neither exists. */
export function findPromtool(): Promtool | undefined {
  if (spawnSync('promtool', ['--version']).status === 0)
    return inFolder((args, options) => spawnSync('promtool', args, options));
  if (spawnSync('docker', ['image', 'inspect', 'prom/prometheus']).status !== 0) return undefined;
  // As an archive, because the container engine may run on a machine that cannot mount our files.
  return inFolder((args, options) => {
    // By name: an entry `.` would set the mode and time of /tmp itself, which the image's user may not.
    const files = spawnSync('tar', ['c', ...readdirSync(options.cwd)], { cwd: options.cwd }).stdout;
    const run = `cd /tmp && tar x && promtool ${args.join(' ')}`;
    const inImage = ['run', '-i', '--rm', '--network', 'none', '--entrypoint', 'sh', 'prom/prometheus', '-c', run];
    return spawnSync('docker', inImage, { ...options, input: files });
  });
}

interface Options {
  readonly cwd: string;
  readonly encoding: 'utf8';
  readonly timeout: number;
}

function inFolder(run: (args: readonly string[], options: Options) => SpawnSyncReturns<string>): Promtool {
  return (args, files) => {
    const cwd = mkdtempSync(join(tmpdir(), 'fleetwire-promtool-'));
    try {
      for (const [name, content] of Object.entries(files)) writeFileSync(join(cwd, name), content);
      return run(args, { cwd, encoding: 'utf8', timeout: 60_000 });
    } finally {
      rmSync(cwd, { recursive: true, force: true });
    }
  };
}
