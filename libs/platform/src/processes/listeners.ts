import { readFile, readdir, readlink } from 'node:fs/promises';

const listening = '0A';

/** Which of these processes listen on a local TCP port, by proc(5); none on a system without /proc. */
export async function listenersOn(port: number, among: readonly number[]): Promise<number[]> {
  const sockets = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const lines = (await readFile(table, 'utf8').catch(() => '')).split('\n').slice(1);
    for (const line of lines) {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state === listening && Number.parseInt(local.split(':')[1] ?? '', 16) === port)
        sockets.add(`socket:[${inode}]`);
    }
  }
  const listeners: number[] = [];
  for (const pid of among) if (await holdsAny(pid, sockets)) listeners.push(pid);
  return listeners;
}

async function holdsAny(pid: number, sockets: ReadonlySet<string>): Promise<boolean> {
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const targets = await Promise.all(
    descriptors.map((descriptor) => readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '')),
  );
  return targets.some((target) => sockets.has(target));
}
