import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { processIdentity } from './process-identity.ts';

const exitPollMs = 25;

/** The process and all its descendants, ancestors first. */
export function processTree(root: number): number[] {
  const childrenOf = new Map<number, number[]>();
  for (const line of execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n')) {
    const [pid, parent] = line.trim().split(/\s+/).map(Number) as [number, number];
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), pid]);
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(childrenOf.get(pid) ?? []));
  return tree;
}

/** Signals each of them; those that have exited are skipped. */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** Resolves when none of them runs any more. New processes with the same ids do not count. */
export async function untilGone(pids: readonly number[], timeoutMs: number): Promise<void> {
  const known = pids.map((pid) => ({ pid, identity: processIdentity(pid) }));
  const isLeft = () => known.some(({ pid, identity }) => identity !== undefined && processIdentity(pid) === identity);
  for (const deadline = Date.now() + timeoutMs; isLeft(); await sleep(exitPollMs)) {
    if (Date.now() > deadline) throw new Error(`processes ${pids.join(', ')} still run after ${timeoutMs} ms`);
  }
}
