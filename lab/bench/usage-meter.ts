import { cpuSecondsOf, machineCpuSeconds, peakResidentBytes, usageOf } from './process-usage.ts';

export interface ProcessRow {
  readonly cpuSeconds: number;
  /** Of a process of ours the most it ever held, of a server what it and its children hold at the end. */
  readonly memoryBytes: number;
}

export interface UsageReport {
  readonly processes: Readonly<Record<string, ProcessRow>>;
  /** Of the machine's CPU time, what neither we nor these processes used: with more than a little, the measurement is worth little. */
  readonly othersCpuShare: number;
}

export interface UsageMeter {
  stop(): Promise<UsageReport>;
}

/**
 * Measures named processes from now until `stop`. It looks at nothing meanwhile: walking through /proc keeps the cores busy for tens of
 * milliseconds, and whoever is measured would wait for them.
 * @param forwarders of a container engine's ports: their CPU time is not others', but nobody's row
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

/** Ours are single processes that began with the measurement, so that the kernel's own peak is theirs. */
function isSingle(name: string): boolean {
  return name !== 'rabbitmq' && name !== 'postgres';
}
