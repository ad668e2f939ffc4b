import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { expect, inject, it } from 'vitest';
import { runFuzz } from '../fuzz.ts';
import { reportText } from '../report.ts';

const timeoutMs = 180_000;

it('answers hostile input without an internal error, a crash or a lost reading', { timeout: timeoutMs }, async () => {
  const logDir = await mkdtemp(join(tmpdir(), 'fleetwire-fuzz-test-'));
  cleanUp(() => rm(logDir, { recursive: true }));
  const report = await runFuzz({
    seed: 20_260_101,
    inputsMax: Infinity,
    durationMs: 15_000,
    // What hangs has no answer on a busy machine either.
    hangMs: 30_000,
    quietMs: 1_500,
    servers: {
      amqpUrl: inject('amqpUrl'),
      managementUrl: inject('managementUrl'),
      databaseUrl: inject('databaseUrl'),
    },
    logDir,
    signal: AbortSignal.timeout(timeoutMs / 2),
    say: () => {},
  });
  expect(report.failures, reportText(report)).toEqual([]);
  // The run proves something only if inputs of every kind were sent, and some of them were taken.
  const groups = [...report.answers.keys()];
  expect(groups).toEqual(
    expect.arrayContaining([
      'Dead letters',
      'Telemetry',
      'socket devices',
      'socket gateways',
      'raw HTTP',
      'upgrades',
      'raw WebSocket',
    ]),
  );
  expect(report.inputs).toBeGreaterThan(300);
  expect(report.audit.acked).toBeGreaterThan(100);
  expect(report.neighbour.fuzzed?.samples).toBeGreaterThan(100);
});
