import { glob, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type CpuProfile, flameGraph } from './flame-graph.ts';

const extension = '.cpuprofile';

/** Puts a flame graph beside every CPU profile below the folder. */
export async function drawFlameGraphs(folder: string): Promise<void> {
  for await (const file of glob(join(folder, `**/*${extension}`))) {
    const profile = JSON.parse(await readFile(file, 'utf8')) as CpuProfile;
    await writeFile(file.replace(extension, '.svg'), flameGraph(profile, basename(file, extension)));
  }
}
