import { cpuSecondsOf, machineCpuSeconds, peakResidentBytes, usageOf } from './process-usage.ts';

export type ProcessRow = { readonly cpuSeconds: number; readonly peakBytes: number };

const sampleIntervalMs = 500;

export type UsageReport = {
  readonly processes: Readonly<Record<string, ProcessRow>>;
  /** Of the machine's CPU time, what neither we nor these processes used: with more than a little, the measurement is worth little. */
  readonly othersCpuShare: number;
};

export type UsageMeter = { stop(): Promise<UsageReport> };

/**
 * Measures named processes from now until `stop`: CPU time used meanwhile, and the largest memory seen.
 * @param forwarders of a container engine's ports: their CPU time is not others', but nobody's row
 */
export async function startUsageMeter(
  pids: Readonly<Record<string, number | undefined>>,
  forwarders: readonly number[],
): Promise<UsageMeter> {
  const known = Object.entries(pids).flatMap(([name, pid]): [string, number][] =>
    pid === undefined ? [] : [[name, pid]],
  );
  const readAll = () => Promise.all(known.map(async ([name, pid]) => [name, await usageOf(pid)] as const));
  const ours = [process.pid, ...known.map(([, pid]) => pid), ...forwarders];
  const before = new Map(await readAll());
  const machineBefore = await machineCpuSeconds();
  const oursBefore = await cpuSecondsOf(ours);
  const peaks = new Map(known.map(([name]) => [name, 0]));
  const sample = async () => {
    const now = await readAll();
    for (const [name, { residentBytes }] of now) peaks.set(name, Math.max(peaks.get(name) ?? 0, residentBytes));
    return now;
  };
  let sampling: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    sampling = sample();
  }, sampleIntervalMs);

  return {
    stop: async (): Promise<UsageReport> => {
      clearInterval(timer);
      await sampling;
      const after = await sample();
      const rows = after.map(async ([name, { cpuSeconds }]) => {
        const peakBytes = Math.max(peaks.get(name) ?? 0, isSingle(name) ? await peakResidentBytes(pids[name]!) : 0);
        return [name, { cpuSeconds: cpuSeconds - (before.get(name)?.cpuSeconds ?? 0), peakBytes }] as const;
      });
      const machine = await machineCpuSeconds();
      const others = machine.busy - machineBefore.busy - ((await cpuSecondsOf(ours)) - oursBefore);
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
