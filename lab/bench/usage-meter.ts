import { cpuSecondsOf, machineCpuSeconds, peakResidentBytes, usageOf } from './process-usage.ts';

export interface ProcessRow {
  readonly cpuSeconds: number;
  /** Of a service the peak; of a server what it and its children hold at the end. */
  readonly memoryBytes: number;
}

export interface UsageReport {
  readonly processes: Readonly<Record<string, ProcessRow>>;
  /** Share of the machine's CPU time that neither the bench nor these processes used. A large share makes the measurement worthless. */
  readonly othersCpuShare: number;
}

export interface UsageMeter {
  stop(): Promise<UsageReport>;
}

/**
 * Measures named processes from now until `stop`. It reads /proc only at the start and at the end: walking through it keeps the cores busy
 * for tens of milliseconds, which would show in the measured latencies.
 * @param forwarders processes that forward a container engine's ports: they have no row, but do not count as other programs
 */
export async function startUsageMeter(
  pids: Readonly<Record<string, number | undefined>>,
  forwarders: readonly number[],
): Promise<UsageMeter> {
  const known = Object.entries(pids).flatMap(([name, pid]): [string, number][] =>
    pid === undefined ? [] : [[name, pid]],
  );
  const readAll = () => Promise.all(known.map(async ([name, pid]) => ({ name, pid, ...(await usageOf(pid)) })));
  const ours = [process.pid, ...known.map(([, pid]) => pid), ...forwarders];
  const before = new Map((await readAll()).map(({ name, cpuSeconds }) => [name, cpuSeconds]));
  const machineBefore = await machineCpuSeconds();
  const oursBefore = await cpuSecondsOf(ours);

  return {
    stop: async (): Promise<UsageReport> => {
      const machine = await machineCpuSeconds();
      const others = machine.busy - machineBefore.busy - ((await cpuSecondsOf(ours)) - oursBefore);
      const rows = (await readAll()).map(async ({ name, pid, cpuSeconds, residentBytes }) => {
        const memoryBytes = isSingle(name) ? await peakResidentBytes(pid) : residentBytes;
        return [name, { cpuSeconds: cpuSeconds - (before.get(name) ?? 0), memoryBytes }] as const;
      });
      return {
        processes: Object.fromEntries(await Promise.all(rows)),
        othersCpuShare: Math.max(0, others / (machine.total - machineBefore.total)),
      };
    },
  };
}

/** A service is a single process that began with the measurement, so the kernel's peak (VmHWM) is that of the measurement. */
function isSingle(name: string): boolean {
  return name !== 'rabbitmq' && name !== 'postgres';
}
