import { variablesTable } from '@fleetwire/runtime/configuration';
import { describe, expect, it } from 'vitest';
import { ingestVariables, readIngestConfiguration } from '../src/configuration.ts';

const least = { AMQP_URL: 'amqp://broker', AUTH_JWKS: '{}' };

describe('the configuration of ingest-ws', () => {
  it('requires a broker and keys only', () => {
    expect(readIngestConfiguration(least)).toMatchObject({ port: 8080, host: '127.0.0.1', authMode: 'jwt' });
  });

  it('reports all invalid variables together', () => {
    const wrong = {
      ...least,
      PORT: 'eighty',
      IN_FLIGHT_MAX: '0',
      BUFFER_BYTES_MAX: '100000',
      AMQP_URL: 'http://broker',
    };
    expect(() => readIngestConfiguration(wrong)).toThrow(
      /5 problems[\s\S]*PORT[\s\S]*AMQP_URL[\s\S]*IN_FLIGHT_MAX[\s\S]*BUFFER_BYTES_MAX ≥ 2 × PAYLOAD_BYTES_MAX/,
    );
  });

  it('allows the open mode on a loopback address only', () => {
    expect(() => readIngestConfiguration({ AMQP_URL: 'amqp://broker', AUTH_MODE: 'open', HOST: '0.0.0.0' })).toThrow(
      'AUTH_MODE=open needs a loopback HOST',
    );
  });

  it('is documented completely (vitest -u rewrites the page)', async () => {
    await expect(`# Configuration of ingest-ws\n\n${variablesTable(ingestVariables)}`).toMatchFileSnapshot(
      '../../../docs/configuration/ingest-ws.md',
    );
  });
});
