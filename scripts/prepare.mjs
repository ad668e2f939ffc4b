import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runStep } from './step.mjs';
import { SetupProblem, explainFailure, majorOf, missingTools } from './toolchain.mjs';

export const root = fileURLToPath(new URL('..', import.meta.url));
const stateDir = join(root, '.fleetwire');
const toolchainDir = join(stateDir, 'toolchain');
const stampFile = join(stateDir, 'setup.json');

/**
 * Installs Node, pnpm and the packages, each only if it is missing or out of date. All state is in .fleetwire/ and node_modules/.
 * @returns {Promise<{ env: NodeJS.ProcessEnv }>} the environment for the command's program
 */
export async function prepareWorkspace() {
  const wanted = stamp();
  if (readStamp() !== wanted || !existsSync(join(root, 'node_modules/.modules.yaml')) || !existsSync(nodeBinary())) {
    makeStateDir();
    await installTools();
    await installPackages();
    writeFileSync(stampFile, JSON.stringify({ stamp: wanted }));
  }
  return { env: environment() };
}

async function installTools() {
  const missing = missingTools({
    nodeVersion: process.version,
    platform: process.platform,
    arch: process.arch,
    pnpmVersion: presentPnpm(),
  });
  const packages = Object.values(missing).filter((name) => !isInToolchain(name));
  if (packages.length > 0) {
    const step = `installing ${packages.join(' and ')} from npm`;
    const args = [
      'install',
      '--prefix',
      toolchainDir,
      '--save-exact',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      ...packages,
    ];
    await runStep(step, 'npm', args, { cwd: root, env: process.env }, explainFailure);
  }
  if (missing.node) checkThatNodeRuns();
}

/** @param {string} [folder] a folder outside the workspace, relative to the repository; default: the workspace */
export async function installPackages(folder) {
  const where = folder === undefined ? [] : ['--ignore-workspace', '--ignore-scripts', '--dir', join(root, folder)];
  const args = ['install', '--frozen-lockfile', '--reporter=append-only', ...where, ...storeArguments(folder ?? '')];
  // pnpm's caches go into the repository too, so that removing the clone removes everything.
  const env = {
    ...environment(),
    CI: 'true',
    XDG_CACHE_HOME: join(stateDir, 'cache'),
    XDG_STATE_HOME: join(stateDir, 'state'),
  };
  const step = `installing packages${folder === undefined ? '' : ` of ${folder}`}`;
  await runStep(step, pnpmBinary(), args, { cwd: root, env }, explainFailure);
}

/** pnpm refuses another store than the one that the installed packages are linked to. */
function storeArguments(folder) {
  const isInstalled = existsSync(join(root, folder, 'node_modules/.modules.yaml'));
  return isInstalled ? [] : ['--store-dir', join(stateDir, 'pnpm-store')];
}

function environment() {
  const folders = [dirname(nodeBinary()), join(root, 'node_modules/.bin'), process.env.PATH ?? ''];
  return { ...process.env, PATH: folders.join(delimiter) };
}

export function nodeBinary() {
  if (majorOf(process.version) >= 24) return process.execPath;
  return join(toolchainDir, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin/node');
}

function pnpmBinary() {
  const own = join(toolchainDir, 'node_modules/.bin/pnpm');
  return existsSync(own) ? own : 'pnpm';
}

function presentPnpm() {
  try {
    return execFileSync('pnpm', ['--version'], {
      cwd: stateDir,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}

function isInToolchain(pinned) {
  const [name, version] = pinned.split('@');
  try {
    return (
      JSON.parse(readFileSync(join(toolchainDir, 'node_modules', name, 'package.json'), 'utf8')).version === version
    );
  } catch {
    return false;
  }
}

function checkThatNodeRuns() {
  try {
    execFileSync(nodeBinary(), ['--version'], { stdio: 'ignore' });
  } catch {
    throw new SetupProblem(
      'The Node 24 from npm does not run on this system (it needs glibc): install Node 24 or newer.',
    );
  }
}

function makeStateDir() {
  try {
    mkdirSync(toolchainDir, { recursive: true });
  } catch (error) {
    throw new SetupProblem(explainFailure(`creating ${stateDir}`, String(error)));
  }
}

/** Changes when the installed packages may be out of date. */
function stamp() {
  const hash = createHash('sha256');
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'scripts/toolchain.mjs'])
    hash.update(readFileSync(join(root, file)));
  return `${hash.digest('hex')} ${process.platform} ${process.arch} ${majorOf(process.version) >= 24 ? 'Node of the machine' : 'Node from npm'}`;
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, 'utf8')).stamp;
  } catch {
    return undefined;
  }
}
