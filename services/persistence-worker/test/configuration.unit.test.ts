import { variablesTable } from '@fleetwire/runtime/configuration';
import { describe, expect, it } from 'vitest';
import { readWorkerConfiguration, workerVariables } from '../src/configuration.ts';

const least = { AMQP_URL: 'amqp://broker', DATABASE_URL: 'postgres://db/fleetwire' };

describe('the configuration of persistence-worker', () => {
  it('needs a broker and a database, no more', () => {
    expect(readWorkerConfiguration(least)).toMatchObject({ port: 8082, prefetch: 128, retentionDays: undefined });
  });

  it('must be able to fill its writers', () => {
    expect(() => readWorkerConfiguration({ ...least, PREFETCH: '1', WRITERS_MAX: '2' })).toThrow(
      'PREFETCH ≥ WRITERS_MAX',
    );
  });

  it('is documented as it is (vitest -u writes it)', async () => {
    await expect(`# Configuration of persistence-worker\n\n${variablesTable(workerVariables)}`).toMatchFileSnapshot(
      '../../../docs/configuration/persistence-worker.md',
    );
  });
});
