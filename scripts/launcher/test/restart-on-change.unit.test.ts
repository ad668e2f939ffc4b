import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { type Restartable, restartOnChange } from '../restart-on-change.ts';

/** Two services and a library, watched; `log` is what happens to the services, in order. */
function watched({ untilReady = async () => {} }: Partial<Restartable> = {}) {
  const root = mkdtempSync(join(tmpdir(), 'fleetwire-dev-'));
  const log: string[] = [];
  const lines: string[] = [];
  for (const folder of ['services/a/src', 'services/b/src', 'services/b/test', 'libs/x/src/inner'])
    mkdirSync(join(root, folder), { recursive: true });
  const service = (name: string): Restartable => ({
    stop: async () => void log.push(`stop ${name}`),
    start: () => void log.push(`start ${name}`),
    untilReady,
  });
  const services = new Map(['a', 'b'].map((name) => [name, service(name)]));
  const watch = restartOnChange({ root, services, report: (line) => lines.push(line) });
  onTestFinished(async () => {
    await watch[Symbol.asyncDispose]();
    rmSync(root, { recursive: true });
  });
  return { log, lines, watch, write: (file: string) => writeFileSync(join(root, file), '') };
}

/** The events of one write may arrive apart and cause two restarts: the tests expect which services restart, not how often. */
function eventually(assertion: () => void): Promise<void> {
  return vi.waitFor(assertion, { timeout: 20_000 });
}

it('restarts the service whose source changed, and no other', async () => {
  const { log, lines, write } = watched();
  write('services/b/test/b.test.ts');
  write('services/a/src/main.ts');
  await eventually(() => expect(lines[0]).toMatch(/^dev: restarted a /));
  expect(new Set(log)).toEqual(new Set(['stop a', 'start a']));
});

it('restarts every service when a library changed', async () => {
  const { log, write } = watched();
  write('libs/x/src/inner/file.ts');
  await eventually(() => expect(new Set(log)).toEqual(new Set(['stop a', 'stop b', 'start a', 'start b'])));
});

it('restarts again when a source changes during a restart', async () => {
  const ready = Promise.withResolvers<void>();
  const { log, lines, write } = watched({ untilReady: () => ready.promise });
  write('services/a/src/main.ts');
  await eventually(() => expect(log).toEqual(['stop a', 'start a']));
  write('services/a/src/main.ts');
  ready.resolve();
  await eventually(() => expect(lines.length).toBeGreaterThan(1));
  expect(log.slice(0, 4)).toEqual(['stop a', 'start a', 'stop a', 'start a']);
});

it('reports a service that does not start, and starts it again after the next change', async () => {
  let isBroken = true;
  const { lines, write } = watched({
    untilReady: async () => {
      if (isBroken) throw new Error('a exited while it was starting');
    },
  });
  write('services/a/src/main.ts');
  await eventually(() => expect(lines[0]).toBe('dev: a exited while it was starting'));
  isBroken = false;
  write('services/a/src/main.ts');
  await eventually(() => expect(lines.at(-1)).toMatch(/^dev: restarted a /));
});

it('waits for a restart in progress when it is disposed, and starts nothing after that', async () => {
  const { log, lines, watch, write } = watched({
    untilReady: ({ signal }) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  });
  write('services/a/src/main.ts');
  await eventually(() => expect(log).toEqual(['stop a', 'start a']));
  await watch[Symbol.asyncDispose]();
  write('services/b/src/main.ts');
  expect({ log, lines }).toEqual({ log: ['stop a', 'start a'], lines: [] });
});
