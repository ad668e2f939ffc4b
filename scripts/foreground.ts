import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export const repositoryRoot = fileURLToPath(new URL('..', import.meta.url));

/** Runs a JavaScript or TypeScript file of the repository, printing as it goes. Signals end it, and then us. */
export async function runInForeground(program: string, args: string[]): Promise<number> {
  const child = spawn(process.execPath, [program, ...args], { cwd: repositoryRoot, stdio: 'inherit' });
  const passOn = (signal: NodeJS.Signals) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  process.on('SIGINT', passOn).on('SIGTERM', passOn);
  const [code] = (await once(child, 'exit')) as [number | null];
  process.off('SIGINT', passOn).off('SIGTERM', passOn);
  return code ?? 1;
}
