import { faultsNamed } from '../chaos/catalogue.ts';
import { type ChaosReport, type ChaosSettings, runChaos } from '../chaos/chaos.ts';
import { reportText } from '../chaos/report.ts';
import { expect, inject, it } from 'vitest';

const kind = inject('backingKind');
/** Includes start, healing and drain, while other suites use the machine too. */
const timeoutMs = 420_000;

it.skipIf(kind === 'given')(
  'no acknowledged reading is lost while faults are injected into every component',
  { timeout: timeoutMs },
  async () => {
    await provePromise({
      faults: faultsNamed(['all']),
      minutes: 0.6,
      backing: kind === 'containers' ? 'containers' : 'native',
    });
  },
);

it.skipIf(kind !== 'containers')(
  'no acknowledged reading is lost while the RabbitMQ cluster loses its leader, and its majority',
  { timeout: timeoutMs },
  async () => {
    const faults = faultsNamed(['rabbitmq-leader-killed', 'rabbitmq-majority-killed', 'rabbitmq-leader-paused']);
    const { timeline } = await provePromise({ faults, minutes: 0.4, backing: 'cluster' });
    expect(timeline.length).toBeGreaterThanOrEqual(faults.length);
  },
);

async function provePromise(settings: Pick<ChaosSettings, 'faults' | 'minutes' | 'backing'>): Promise<ChaosReport> {
  const lines: string[] = [];
  const report = await runChaos({
    ...settings,
    seed: 20_260_101,
    rate: 300,
    devices: 30,
    env: process.env,
    signal: AbortSignal.timeout(timeoutMs),
    say: (line) => lines.push(line),
  });
  expect(report.breaches, `${lines.join('\n')}\n${reportText(report)}`).toEqual([]);
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
