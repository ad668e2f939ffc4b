import { execFile } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { StartError } from '../processes/program.ts';
import { extractNginxPackage } from '../servers/debian-package.ts';

const run = promisify(execFile);
/** The first with `-e`, without which nginx opens the log of the system's own nginx. */
const minorMin = 20;
const extracted = fileURLToPath(new URL('../../../../.fleetwire/nginx', import.meta.url));

/** A program that runs here. */
export interface NginxProgram {
  readonly path: string;
  readonly version: string;
}

/**
 * The nginx of the system, or the one that was extracted before. Only the program is used: its own configuration, folders and service are not.
 * @param env with `NGINX`, the path of the program to use
 * @throws StartError where `NGINX` names a program that cannot be used
 */
export async function findNginx(env: NodeJS.ProcessEnv): Promise<NginxProgram | undefined> {
  const given = env['NGINX'];
  if (given !== undefined && given !== '') {
    const program = await probe(given);
    if (program === undefined) throw new StartError(`NGINX names ${given}, which is not nginx 1.${minorMin} or later.`);
    return program;
  }
  const folders = [...(env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin'];
  const candidates = [...folders.filter(Boolean).map((folder) => join(folder, 'nginx')), programIn(extracted)];
  for (const path of new Set(candidates)) {
    const program = await probe(path);
    if (program !== undefined) return program;
  }
  return undefined;
}

/**
 * Debian's nginx, extracted below `.fleetwire`: nothing is installed, so no service of the system is started or enabled.
 * @throws StartError where that is not possible
 */
export async function obtainNginx(log: (line: string) => void): Promise<NginxProgram> {
  mkdirSync(join(extracted, '..'), { recursive: true });
  await extractNginxPackage(extracted, log);
  const program = await probe(programIn(extracted));
  if (program === undefined)
    throw new StartError(
      `Debian's nginx does not run here, or is older than 1.${minorMin}: install nginx, or give NGINX.`,
    );
  return program;
}

function programIn(folder: string): string {
  return join(folder, 'usr/sbin/nginx');
}

async function probe(path: string): Promise<NginxProgram | undefined> {
  if (!existsSync(path)) return undefined;
  try {
    const { stderr } = await run(path, ['-v']);
    const [, version, major, minor] = /nginx\/((\d+)\.(\d+)\.\d+)/.exec(stderr) ?? [];
    if (version === undefined) return undefined;
    return Number(major) > 1 || Number(minor) >= minorMin ? { path, version } : undefined;
  } catch {
    return undefined;
  }
}
