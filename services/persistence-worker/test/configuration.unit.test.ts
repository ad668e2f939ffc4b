import { variablesTable } from '@fleetwire/runtime/configuration';
import { describe, expect, it } from 'vitest';
import { readWorkerConfiguration, workerVariables } from '../src/configuration.ts';

const least = { AMQP_URL: 'amqp://broker', DATABASE_URL: 'postgres://db/fleetwire' };

describe('the configuration of persistence-worker', () => {
  it('requires only the URLs of the broker and the database', () => {
    expect(readWorkerConfiguration(least)).toMatchObject({ port: 8082, prefetch: 128, retentionDays: undefined });
  });

  it('rejects a prefetch smaller than the number of transactions', () => {
    expect(() => readWorkerConfiguration({ ...least, PREFETCH: '1', WRITERS_MAX: '2' })).toThrow(
      'PREFETCH ≥ WRITERS_MAX',
    );
  });

  it('matches its documentation page (vitest -u writes the page)', async () => {
    await expect(`# Configuration of persistence-worker\n\n${variablesTable(workerVariables)}`).toMatchFileSnapshot(
      '../../../docs/configuration/persistence-worker.md',
    );
  });
});
