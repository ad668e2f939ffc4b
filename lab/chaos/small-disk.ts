import { execFile } from 'node:child_process';
import { mkdir, rm, statfs, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

export type SmallDisk = AsyncDisposable & {
  /** Fills it to the last byte. */
  fill(): Promise<void>;
  free(): Promise<void>;
};

const run = promisify(execFile);
const sizeMiB = 2_048;

/**
 * A disk of limited size (tmpfs(5)), linked to as `folder`. Needs root on Linux.
 * @param mountPoint a folder that does not exist yet; disposal removes it
 * @returns undefined where mounting is not allowed
 */
export async function mountSmallDisk(folder: string, mountPoint: string): Promise<SmallDisk | undefined> {
  await mkdir(mountPoint, { recursive: true });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m,mode=0755`, 'tmpfs', mountPoint]);
  } catch {
    await rm(mountPoint, { recursive: true });
    return undefined;
  }
  await symlink(mountPoint, folder);
  const filler = join(mountPoint, 'filler');
  return {
    async fill() {
      // In several pieces: Postgres writes at the same time, and the space it frees is filled too.
      for (let piece = 0; piece < 100; piece += 1) {
        const { bavail, bsize } = await statfs(mountPoint);
        if (bavail === 0) return;
        await run('fallocate', ['-o', String(piece * sizeMiB * 2 ** 20), '-l', String(bavail * bsize), filler]).catch(
          () => {},
        );
      }
    },
    free: () => rm(filler, { force: true }),
    async [Symbol.asyncDispose]() {
      await run('umount', ['--lazy', mountPoint]);
      await rm(mountPoint, { recursive: true });
    },
  };
}
