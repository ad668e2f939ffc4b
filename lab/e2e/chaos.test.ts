import { faultsNamed } from '../chaos/catalogue.ts';
import { type ChaosSettings, runChaos } from '../chaos/chaos.ts';
import { type ChaosReport, reportText } from '../chaos/report.ts';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { expect, inject, it } from 'vitest';

const kind = inject('backingKind');
/** Includes start, healing and drain, while other suites use the machine too. */
const timeoutMs = 360_000;

it.skipIf(kind === 'given')(
  'no acknowledged reading is lost while faults are injected into every component',
  { timeout: timeoutMs },
  async ({ signal }) => {
    await provePromise(signal, {
      faults: faultsNamed(['all']),
      minutes: 0.6,
      backing: kind === 'containers' ? 'containers' : 'native',
    });
  },
);

it.skipIf(kind !== 'containers')(
  'no acknowledged reading is lost while the RabbitMQ cluster loses its leader, and its majority',
  { timeout: timeoutMs },
  async ({ signal }) => {
    const faults = faultsNamed(['rabbitmq-leader-killed', 'rabbitmq-majority-killed', 'rabbitmq-leader-paused']);
    const { timeline } = await provePromise(signal, { faults, minutes: 0.4, backing: 'cluster' });
    expect(timeline.length).toBeGreaterThanOrEqual(faults.length);
  },
);

/** @param abandoned aborts when the test has run out of time: the servers are stopped then */
async function provePromise(
  abandoned: AbortSignal,
  settings: Pick<ChaosSettings, 'faults' | 'minutes' | 'backing'>,
): Promise<ChaosReport> {
  const lines: string[] = [];
  const running = runChaos({
    ...settings,
    abandoned,
    seed: 20_260_101,
    rate: 300,
    devices: 30,
    env: process.env,
    signal: AbortSignal.timeout(timeoutMs),
    say: (line) => lines.push(line),
  });
  cleanUp(() => running.catch(() => {}));
  const report = await running;
  const breaches = report.breaches.map(({ rule, identities: [example] }) => (example ? `${rule}: ${example}` : rule));
  expect(report.breaches, `${breaches.join('; ')}\n${lines.join('\n')}\n${reportText(report)}`).toEqual([]);
  expect(report.accounting).toMatchObject({ balanced: true, lost: 0 });
  // The run proves something only if the faults were injected and the load continued.
  const injected = new Set([...report.timeline.map(({ fault }) => fault), ...report.notRun]);
  expect(injected).toEqual(new Set(settings.faults.map(({ name }) => name)));
  expect(report.accounting.acked).toBeGreaterThan(3_000);
  expect(report.fleet.resent).toBeGreaterThan(0);
  expect(report.contentsCompared).toBe(report.accounting.stored);
  expect(report.accounting.deadLettered).toBeGreaterThan(0);
  expect(report.answers?.readings).toBe(report.accounting.acked - report.accounting.deadLettered);
  return report;
}
