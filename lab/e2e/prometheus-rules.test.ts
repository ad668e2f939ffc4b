import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { expressions as dashboardExpressions } from './dashboards.ts';
import { startPlatform } from './platform.ts';
import { findPromtool } from './promtool.ts';

const folder = new URL('../../deploy/prometheus/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');
const names = ['recording.rules.yml', 'alert.rules.yml', 'alert.test.yml', 'prometheus.yml'];
const files = Object.fromEntries(names.map((name) => [name, read(name)]));
const commands = [
  ['check', 'rules', 'recording.rules.yml', 'alert.rules.yml'],
  ['test', 'rules', 'alert.test.yml'],
  ['check', 'config', 'prometheus.yml'],
  ['check', 'rules', 'dashboards.yml'],
];
/** As rules, because promtool parses those. */
const dashboardRules = JSON.stringify({
  groups: [
    {
      name: 'dashboards',
      rules: dashboardExpressions.map((expr, index) => ({ record: `dashboards:expression:${index}`, expr })),
    },
  ],
});

it('promtool accepts the rules and the expressions of the dashboards, and every alert fires in its test case and only there', ({
  skip,
}) => {
  const run = findPromtool();
  if (run === undefined) {
    const note =
      'NOT TESTED: the Prometheus rules, because promtool is neither on the PATH nor in a pulled image prom/prometheus';
    console.warn(note);
    return skip(note);
  }
  for (const command of commands) {
    const { status, stdout, stderr } = run(command, { ...files, 'dashboards.yml': dashboardRules });
    expect(status, `promtool ${command.join(' ')}\n${stdout}${stderr}`).toBe(0);
  }
});

it('every alert has a test', () => {
  const tested = new Set([...read('alert.test.yml').matchAll(/alertname: (\w+)/g)].map(([, name]) => name));
  const declared = [...read('alert.rules.yml').matchAll(/alert: (\w+)/g)].map(([, name]) => name);
  expect(declared.filter((name) => !tested.has(name))).toEqual([]);
});

it('the services expose every metric that the rules and the dashboards name', async () => {
  const { ingest, worker, api, startBeside, token } = await startPlatform();
  // Only with a token an edge knows the registry, and says how old its knowledge is.
  const registry = { QUERY_API_URL: api.url, REGISTRY_TOKEN: await token('edge', 'analyst') };
  const edge = await startBeside('ingest-ws', registry);
  const pages = await Promise.all(
    [ingest, edge, worker, api].map(async ({ url }) => (await fetch(`${url}/metrics`)).text()),
  );
  const exposed = new Set(pages.flatMap((page) => [...page.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name)));
  const rules = `${read('recording.rules.yml')}${read('alert.rules.yml')}`;
  const expressions = [...(rules.match(/expr: .*/g) ?? []), ...dashboardExpressions];
  const recorded = new Set([...rules.matchAll(/record: (\S+)/g)].map(([, name]) => name));
  const used = dashboardExpressions.flatMap((one) => one.match(/\bfleetwire:[\w:]+/g) ?? []);
  expect(used.filter((name) => !recorded.has(name))).toEqual([]);
  const named = new Set(expressions.flatMap((one) => [...one.matchAll(/\bfleetwire_\w+/g)].map(([name]) => name)));
  expect(named.size).toBeGreaterThan(10);
  expect([...named].filter((name) => !exposed.has(name.replace(/_bucket$/, '')))).toEqual([]);
  // A counter that is created by its first event would hide that event from increase().
  const text = pages.join('\n');
  expect(text).toContain('fleetwire_worker_dead_letters_total{reason="unreadable"} 0');
  expect(text).toContain('fleetwire_worker_readings_total{outcome="stored"} 0');
  expect(text).toContain('fleetwire_ingest_readings_total{result="received"} 0');
  expect(text).not.toMatch(/^fleetwire_\w+\{[^}]*\bdevice\w*=/m);
});
