import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { startPlatform } from './platform.ts';

const folder = fileURLToPath(new URL('../../deploy/prometheus', import.meta.url));
const read = (name: string): string => readFileSync(`${folder}/${name}`, 'utf8');
const commands = [
  ['check', 'rules', 'recording.rules.yml', 'alert.rules.yml'],
  ['test', 'rules', 'alert.test.yml'],
];

/** `promtool` from the PATH, or from the Prometheus image if it has been pulled; undefined if neither exists. */
function promtool(): ((args: readonly string[]) => SpawnSyncReturns<string>) | undefined {
  const options = { cwd: folder, encoding: 'utf8', timeout: 60_000 } as const;
  if (spawnSync('promtool', ['--version']).status === 0) return (args) => spawnSync('promtool', args, options);
  if (spawnSync('docker', ['image', 'inspect', 'prom/prometheus']).status !== 0) return undefined;
  // As an archive, because the container engine may run on a machine that cannot mount our files.
  const files = spawnSync('tar', ['c', 'recording.rules.yml', 'alert.rules.yml', 'alert.test.yml'], {
    cwd: folder,
  }).stdout;
  return (args) => {
    const run = `cd /tmp && tar x && promtool ${args.join(' ')}`;
    const inImage = ['run', '-i', '--rm', '--network', 'none', '--entrypoint', 'sh', 'prom/prometheus', '-c', run];
    return spawnSync('docker', inImage, { ...options, input: files });
  };
}

it('promtool accepts the rules, and every alert fires in its test case and only there', ({ skip }) => {
  const run = promtool();
  if (run === undefined) {
    const note =
      'NOT TESTED: the Prometheus rules, because promtool is neither on the PATH nor in a pulled image prom/prometheus';
    console.warn(note);
    return skip(note);
  }
  for (const command of commands) {
    const { status, stdout, stderr } = run(command);
    expect(status, `promtool ${command.join(' ')}\n${stdout}${stderr}`).toBe(0);
  }
});

it('every alert has a test', () => {
  const tested = new Set([...read('alert.test.yml').matchAll(/alertname: (\w+)/g)].map(([, name]) => name));
  const declared = [...read('alert.rules.yml').matchAll(/alert: (\w+)/g)].map(([, name]) => name);
  expect(declared.filter((name) => !tested.has(name))).toEqual([]);
});

it('the services expose every metric that the rules name', async () => {
  const { ingest, worker, api } = await startPlatform();
  const pages = await Promise.all([ingest, worker, api].map(async ({ url }) => (await fetch(`${url}/metrics`)).text()));
  const exposed = new Set(pages.flatMap((page) => [...page.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name)));
  const expressions = `${read('recording.rules.yml')}${read('alert.rules.yml')}`.match(/expr: .*/g) ?? [];
  const named = new Set(expressions.flatMap((one) => [...one.matchAll(/\bfleetwire_\w+/g)].map(([name]) => name)));
  expect(named.size).toBeGreaterThan(10);
  expect([...named].filter((name) => !exposed.has(name.replace(/_bucket$/, '')))).toEqual([]);
  // A counter that is created by its first event would hide that event from increase().
  const text = pages.join('\n');
  expect(text).toContain('fleetwire_worker_dead_letters_total{reason="unreadable"} 0');
  expect(text).toContain('fleetwire_worker_readings_total{outcome="stored"} 0');
  expect(text).toContain('fleetwire_ingest_readings_total{result="received"} 0');
  expect(text).not.toMatch(/^fleetwire_\w+\{[^}]*device/m);
});
