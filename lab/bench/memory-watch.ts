import { residentBytesOf } from './process-usage.ts';

const sampleIntervalMs = 200;

/** Samples the resident memory of these processes, added up, while `during` runs. @returns bytes, in chronological order */
export async function watchMemory(pids: readonly number[], during: () => Promise<unknown>): Promise<number[]> {
  const samples: number[] = [];
  const sample = async () => {
    const each = await Promise.all(pids.map(residentBytesOf));
    if (each.includes(0)) throw new Error('a process has exited, or this system has no /proc to read its memory from');
    samples.push(each.reduce((sum, bytes) => sum + bytes, 0));
  };
  const timer = setInterval(() => void sample().catch(() => undefined), sampleIntervalMs);
  try {
    await during();
    await sample();
    return samples;
  } finally {
    clearInterval(timer);
  }
}
