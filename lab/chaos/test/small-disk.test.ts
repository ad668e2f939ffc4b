import { mkdtempSync, rmSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { expect, it } from 'vitest';
import { mountSmallDisk } from '../small-disk.ts';

const mebibyte = 2 ** 20;

/** Appends to fifty files in turn, and removes one now and then, as Postgres does with its WAL. */
const writer = `
  const { appendFileSync, rmSync } = require('node:fs');
  const { parentPort, workerData } = require('node:worker_threads');
  const sleeping = new Int32Array(new SharedArrayBuffer(4));
  const bytes = Buffer.alloc(16_384);
  for (let written = 0; ; written += 1) {
    const file = workerData + '/written-' + (written % 50);
    try { appendFileSync(file, bytes); } catch {}
    if (written % 60 === 0) rmSync(file, { force: true });
    if (written === 100) parentPort.postMessage('writes');
    Atomics.wait(sleeping, 0, 0, 1);
  }`;

it('a small disk is filled also while files on it grow and go', async ({ skip }) => {
  const folder = mkdtempSync(join(tmpdir(), 'fleetwire-small-disk-'));
  cleanUp(() => rmSync(folder, { recursive: true }));
  const mountPoint = join(folder, 'mounted');
  const disk = await mountSmallDisk(join(folder, 'data'), mountPoint);
  if (disk === undefined) return skip('mounting is not allowed here');
  cleanUp(() => disk[Symbol.asyncDispose]());
  const freeBytes = async (): Promise<number> => {
    const { bavail, bsize } = await statfs(mountPoint);
    return bavail * bsize;
  };
  let isWriting = false;
  const worker = new Worker(writer, { eval: true, workerData: mountPoint });
  worker.once('message', () => (isWriting = true));
  cleanUp(() => worker.terminate());
  await eventually(() => expect(isWriting).toBe(true));

  await disk.fill();
  expect(await freeBytes()).toBeLessThan(mebibyte);
  await disk.free();
  expect(await freeBytes()).toBeGreaterThan(1_900 * mebibyte);
});
