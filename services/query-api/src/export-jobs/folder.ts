import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { link, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Problem } from '@fleetwire/runtime/problem';
import { FileAnswer } from './file-answer.ts';
import {
  ByteCount,
  Counting,
  type ExportTarget,
  type FileOf,
  type ListedFile,
  type NewFile,
  type ServedFile,
  writeThrough,
  type WrittenFile,
} from './target.ts';

/** Names the folder, so that a job can say where its file is. */
const idFile = 'folder-id';
const fileName = /^([0-9a-f-]{36})\.([0-9a-f-]{36})\.[a-z]+$/;

/** A folder on a disk. */
export class ExportFolder implements ExportTarget {
  readonly id: string;
  readonly #path: string;
  readonly count: ByteCount;

  private constructor(path: string, id: string, bytesMax: number) {
    this.#path = path;
    this.id = id;
    this.count = new ByteCount(bytesMax);
  }

  /** Makes the folder where it is missing. @throws where it cannot be written to */
  static async open(path: string, bytesMax: number): Promise<ExportFolder> {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const draft = join(path, `${idFile}.${randomUUID()}`);
    await writeFile(draft, randomUUID(), { mode: 0o600, flush: true });
    try {
      // Of several instances that open it at the same moment one gives it its id.
      await link(draft, join(path, idFile));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      await rm(draft, { force: true });
    }
    const folder = new ExportFolder(path, (await readFile(join(path, idFile), 'utf8')).trim(), bytesMax);
    await folder.files();
    return folder;
  }

  async files(): Promise<readonly ListedFile[]> {
    const found = (await readdir(this.#path)).flatMap((name) => {
      const [, id, run] = fileName.exec(name) ?? [];
      return id === undefined || run === undefined ? [] : [{ id, run, path: join(this.#path, name) }];
    });
    const sizes = await Promise.all(found.map(({ path }) => sizeOf(path)));
    // Other instances may write there too.
    this.count.see(sizes.reduce((sum, size) => sum + size, 0));
    return found.map(({ id, run, path }) => ({ id, run, remove: () => this.#remove(path) }));
  }

  /** It has its name only when all of it is on the disk. */
  async write(file: NewFile, write: (out: Writable) => Promise<unknown>): Promise<WrittenFile> {
    const [partial, path] = [this.#pathOf(file, 'part'), this.#pathOf(file, file.format.extension)];
    const counting = new Counting((bytes) => this.count.take(bytes));
    try {
      await writeThrough(
        counting,
        (source) => pipeline(source, createWriteStream(partial, { flags: 'wx', mode: 0o600, flush: true })),
        write,
      );
      await rename(partial, path);
      await syncFolder(this.#path);
      return { bytes: counting.bytes, digest: counting.digest() };
    } catch (error) {
      await rm(partial, { force: true });
      this.count.giveBack(counting.bytes);
      throw fullDisk(error) ?? error;
    }
  }

  answer(file: ServedFile): FileAnswer {
    return new FileAnswer(this.#pathOf(file, file.format.extension), file);
  }

  async addressOf(): Promise<undefined> {
    return undefined;
  }

  #pathOf({ id, run }: FileOf, extension: string): string {
    return join(this.#path, `${id}.${run}.${extension}`);
  }

  async #remove(path: string): Promise<void> {
    const bytes = await sizeOf(path);
    await rm(path, { force: true });
    this.count.giveBack(bytes);
  }
}

/** A new name is on the disk only when its folder is. */
async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path);
  await folder.sync();
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

function fullDisk(error: unknown): Problem | undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return undefined;
  return new Problem(507, 'Insufficient storage', { detail: 'The disk with the files of export jobs is full' });
}
