import { readFileSync } from 'node:fs';

/** Resident set of a process (Linux, proc(5)). */
export function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}
