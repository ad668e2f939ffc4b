import { residentBytesOf } from './process-usage.ts';

const sampleIntervalMs = 200;

/** Looks at the resident memory of single processes, all together, while something goes on. @returns bytes, in the order of time */
export async function watchMemory(pids: readonly number[], during: () => Promise<unknown>): Promise<number[]> {
  const samples: number[] = [];
  const sample = async () => {
    const each = await Promise.all(pids.map(residentBytesOf));
    if (each.includes(0)) throw new Error('a process has ended, or there is no /proc to read its memory from');
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
