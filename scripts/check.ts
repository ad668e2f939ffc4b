import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { checkArchitecture } from './architecture.ts';
import { checkLinks } from './links.ts';

interface Outcome {
  findings: string;
  seconds: number;
}

/** `npm run check`: the checks run at the same time and each prints all its findings, so that one run shows everything there is to fix. */
const root = join(import.meta.dirname, '..');
const startedAt = performance.now();
const checks: [title: string, outcome: Promise<Outcome>][] = [
  ['types', run('tsc', ['--noEmit', '--project', '.'])],
  ['types of the dashboard', run('tsc', ['--noEmit', '--project', 'apps/dashboard'])],
  ['types of the tests in a browser', run('tsc', ['--noEmit', '--project', 'lab/browser'])],
  ['lint', run('oxlint', ['--type-aware', '--deny-warnings'])],
  ['format', run('oxfmt', ['--check', '.'])],
  ['unused code and dependencies', run('knip', ['--no-progress'])],
  ['code that only tests use', run('knip', ['--no-progress', '--production'])],
  ['architecture', outcomeOf(checkArchitecture(root).join('\n'))],
  ['links', outcomeOf(checkLinks(root).join('\n'))],
];

for (const [title, outcome] of checks) {
  const { findings, seconds } = await outcome;
  console.log(`check: ${title} ... ${findings === '' ? 'ok' : 'FAILED'} (${seconds.toFixed(1)} s)`);
  if (findings === '') continue;
  console.log(findings);
  process.exitCode = 1;
}

/** @returns as findings what the tool printed if it failed, else nothing */
async function run(tool: string, args: string[]): Promise<Outcome> {
  const child = spawn(`node_modules/.bin/${tool}`, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return outcomeOf(code === 0 ? '' : `${output}${errors}`.trim() || `${tool} ended with exit code ${code}`);
}

async function outcomeOf(findings: string): Promise<Outcome> {
  return { findings, seconds: (performance.now() - startedAt) / 1000 };
}
