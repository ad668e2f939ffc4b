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
const pieceBytesMax = 64 * 2 ** 20;
const piecesMax = 500;

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
      // Postgres writes at the same time. A piece that does not fit any more is given back whole, so the next one is smaller.
      let [filledBytes, pieceBytes] = [0, pieceBytesMax];
      for (let piece = 0; piece < piecesMax; piece += 1) {
        const { bavail, bsize } = await statfs(mountPoint);
        if (bavail === 0) return;
        const bytes = Math.min(pieceBytes, bavail * bsize);
        try {
          await run('fallocate', ['-o', String(filledBytes), '-l', String(bytes), filler]);
          filledBytes += bytes;
        } catch {
          pieceBytes = Math.max(bsize, bytes / 2);
        }
      }
    },
    free: () => rm(filler, { force: true }),
    async [Symbol.asyncDispose]() {
      await run('umount', ['--lazy', mountPoint]);
      await rm(mountPoint, { recursive: true });
    },
  };
}
