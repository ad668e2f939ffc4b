import { faultsNamed } from '@fleetwire/chaos/catalogue';
import { runChaos } from '@fleetwire/chaos/chaos';
import { reportText } from '@fleetwire/chaos/report';
import { expect, inject, it } from 'vitest';

const kind = inject('backingKind');
const faultsForMinutes = 0.6;
/** Starting, healing and draining included, while other suites take their share of the machine. */
const timeoutMs = 240_000;

it.skipIf(kind === 'given')(
  'loses nothing that was acknowledged while every part of it is broken',
  { timeout: timeoutMs },
  async () => {
    const lines: string[] = [];
    const report = await runChaos({
      faults: faultsNamed(['all']),
      minutes: faultsForMinutes,
      seed: 20_260_101,
      rate: 300,
      devices: 30,
      backing: kind === 'containers' ? 'containers' : 'native',
      env: process.env,
      signal: AbortSignal.timeout(timeoutMs),
      say: (line) => lines.push(line),
    });
    expect(report.breaches, `${lines.join('\n')}\n${reportText(report)}`).toEqual([]);
    expect(report.books).toMatchObject({ balanced: true, lost: 0 });
    // The run proves something only if the faults came and the load went on.
    const injected = new Set(report.timeline.map(({ fault }) => fault));
    expect([...injected, ...report.notRun].toSorted()).toEqual(
      faultsNamed(['all'])
        .map(({ name }) => name)
        .toSorted(),
    );
    expect(report.books.acked).toBeGreaterThan(3_000);
    expect(report.fleet.resent).toBeGreaterThan(0);
    expect(report.samplesCompared).toBeGreaterThan(1_000);
  },
);
