import { execFile } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { listenersOn } from '@fleetwire/platform/processes/listeners';

/** What a process and its descendants use. Not known on a system without /proc, or of a remote server. */
export interface Usage {
  readonly cpuSeconds: number;
  /** Private memory of all of them, plus the largest shared memory of one: shared buffers count once. */
  readonly residentBytes: number;
}

const ticksPerSecond = 100;
const run = promisify(execFile);

/** CPU time since the process started, including children that have exited, and memory now (proc(5): stat, status). */
export async function usageOf(rootPid: number): Promise<Usage> {
  const family = await familyOf(rootPid);
  let cpuSeconds = 0;
  let privateKib = 0;
  let sharedKib = 0;
  for (const pid of family) {
    const [stat, status] = await Promise.all([readText(`/proc/${pid}/stat`), readText(`/proc/${pid}/status`)]);
    cpuSeconds += cpuSecondsIn(stat);
    privateKib += kib(status, 'RssAnon');
    sharedKib = Math.max(sharedKib, kib(status, 'RssFile') + kib(status, 'RssShmem'));
  }
  return { cpuSeconds, residentBytes: (privateKib + sharedKib) * 1_024 };
}

/** CPU time of the whole machine since it was booted: `busy` of all processes, `total` including idle time. */
export async function machineCpuSeconds(): Promise<{ readonly busy: number; readonly total: number }> {
  // proc(5), stat: user nice system idle iowait irq softirq steal; guest time is part of user time.
  const [, ...ticks] = ((await readText('/proc/stat')).split('\n')[0] ?? '').split(/\s+/);
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = ticks.map(Number);
  const busy = user + nice + system + irq + softirq + steal;
  return { busy: busy / ticksPerSecond, total: (busy + idle + iowait) / ticksPerSecond };
}

/** CPU time of all these processes and their descendants, each counted once. */
export async function cpuSecondsOf(rootPids: readonly number[]): Promise<number> {
  const families = await Promise.all(rootPids.map(familyOf));
  const each = [...new Set(families.flat())].map(async (pid) => cpuSecondsIn(await readText(`/proc/${pid}/stat`)));
  return (await Promise.all(each)).reduce((sum, seconds) => sum + seconds, 0);
}

/** Resident memory of a single process now. */
export async function residentBytesOf(pid: number): Promise<number> {
  return kib(await readText(`/proc/${pid}/status`), 'VmRSS') * 1_024;
}

/** Peak resident memory of a single process. */
export async function peakResidentBytes(pid: number): Promise<number> {
  return kib(await readText(`/proc/${pid}/status`), 'VmHWM') * 1_024;
}

/** The server process behind a local port, also where a container engine forwards the port. */
export async function serverBehind(url: string): Promise<number | undefined> {
  const { hostname, port } = new URL(url);
  if (!['localhost', '127.0.0.1', '[::1]'].includes(hostname)) return undefined;
  const container = await containerPublishing(port);
  return container ?? (await listenerOn(Number(port)));
}

async function containerPublishing(port: string): Promise<number | undefined> {
  try {
    const { stdout: id } = await run('docker', ['ps', '--quiet', '--filter', `publish=${port}`]);
    if (id.trim() === '') return undefined;
    const { stdout: pid } = await run('docker', ['inspect', '--format', '{{.State.Pid}}', id.trim()]);
    return Number(pid) || undefined;
  } catch {
    return undefined;
  }
}

/** The process that listens on a local port: the server, or the one by which a container engine forwards the port. */
export async function listenerOn(port: number): Promise<number | undefined> {
  const owners = await listenersOn(port, await pids());
  // Children inherit the socket: the server is the one whose parent is not among them.
  const parents = await parentsOf(owners);
  return owners.find((pid) => !owners.includes(parents.get(pid) ?? 0));
}

function cpuSecondsIn(stat: string): number {
  // Fields 14 to 17, counted after the command's closing bracket: user and system time, own and of children waited for.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + (Number(ticks) || 0), 0) / ticksPerSecond;
}

async function familyOf(rootPid: number): Promise<number[]> {
  const parents = await parentsOf(await pids());
  const family = [rootPid];
  for (const member of family) for (const [pid, parent] of parents) if (parent === member) family.push(pid);
  return family;
}

async function parentsOf(list: readonly number[]): Promise<Map<number, number>> {
  const entries = await Promise.all(
    list.map(async (pid): Promise<[number, number]> => {
      const stat = await readText(`/proc/${pid}/stat`);
      return [pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])];
    }),
  );
  return new Map(entries);
}

async function pids(): Promise<number[]> {
  return (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name)).map(Number);
}

/** Empty for a process that has exited. */
function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

function kib(status: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
}
