import { existsSync, readdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A service process, as far as this file needs it. */
export interface Restartable {
  stop(forced?: AbortSignal): Promise<unknown>;
  start(): void;
  untilReady(options: { readonly signal: AbortSignal }): Promise<void>;
}

export interface RestartOnChangeOptions {
  /** Holds `libs` and `services`. */
  readonly root: string;
  /** By the name of the service's folder. */
  readonly services: ReadonlyMap<string, Restartable>;
  /** Kills a service that drains before its restart. */
  readonly forced?: AbortSignal;
  readonly report: (line: string) => void;
}

/** Editors write a file in several steps, and git writes several files: one restart for all of them. */
const settleMs = 100;

/**
 * Restarts a service when one of its sources changes, and all services when a source of a library changes. A service that does not start
 * is reported; the next change starts it again.
 * @returns disposing it ends the watch and waits for a restart in progress
 */
export function restartOnChange({ root, services, forced, report }: RestartOnChangeOptions): AsyncDisposable {
  const closing = new AbortController();
  const changed = new Set<string>();
  let restarting: Promise<void> | undefined;

  const watchers = [
    ...[...services.keys()].map((name) => ({ folder: join(root, 'services', name, 'src'), names: [name] })),
    ...readdirSync(join(root, 'libs')).map((name) => ({
      folder: join(root, 'libs', name, 'src'),
      names: [...services.keys()],
    })),
  ]
    .filter(({ folder }) => existsSync(folder))
    .map(({ folder, names }) =>
      watch(folder, { recursive: true }, (_event, file) => {
        if (!file?.endsWith('.ts')) return;
        for (const name of names) changed.add(name);
        restarting ??= restartChanged().finally(() => (restarting = undefined));
      }),
    );

  async function restartChanged(): Promise<void> {
    while (changed.size > 0 && !closing.signal.aborted) {
      await sleep(settleMs);
      const names = [...changed];
      changed.clear();
      await Promise.all(names.map(restart));
    }
  }

  async function restart(name: string): Promise<void> {
    const service = services.get(name)!;
    const startedAt = Date.now();
    await service.stop(forced);
    if (closing.signal.aborted) return;
    try {
      service.start();
      await service.untilReady({ signal: closing.signal });
      report(`dev: restarted ${name} (${((Date.now() - startedAt) / 1000).toFixed(1)} s)`);
    } catch (error) {
      if (!closing.signal.aborted) report(`dev: ${(error as Error).message}`);
    }
  }

  return {
    async [Symbol.asyncDispose]() {
      closing.abort();
      for (const watcher of watchers) watcher.close();
      await restarting;
    },
  };
}
