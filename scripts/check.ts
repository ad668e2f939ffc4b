import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { checkArchitecture } from './architecture.ts';
import { repositoryRoot } from './foreground.ts';

/** `npm run check`: every check runs, and each one's findings are shown, so that one run tells everything there is to mend. */
const checks: [title: string, check: () => Promise<string>][] = [
  ['types', () => findingsOf('tsc', ['--noEmit', '--project', '.'])],
  ['lint', () => findingsOf('oxlint', ['--type-aware', '--deny-warnings'])],
  ['format', () => findingsOf('oxfmt', ['--check', '.'])],
  ['unused code and dependencies', () => findingsOf('knip', ['--no-progress'])],
  ['code that only tests use', () => findingsOf('knip', ['--no-progress', '--production'])],
  ['architecture', () => Promise.resolve(checkArchitecture(repositoryRoot).join('\n'))],
];

for (const [title, check] of checks) {
  const startedAt = Date.now();
  const findings = await check();
  console.log(
    `check: ${title} ... ${findings === '' ? 'ok' : 'FAILED'} (${((Date.now() - startedAt) / 1000).toFixed(1)} s)`,
  );
  if (findings === '') continue;
  console.log(findings);
  process.exitCode = 1;
}

/** What the tool printed if it failed, else nothing. */
async function findingsOf(tool: string, args: string[]): Promise<string> {
  const child = spawn(`node_modules/.bin/${tool}`, args, { cwd: repositoryRoot, stdio: ['ignore', 'pipe', 'pipe'] });
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return code === 0 ? '' : `${output}${errors}`.trim() || `${tool} ended with exit code ${code}`;
}
