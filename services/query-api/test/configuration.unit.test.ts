import { variablesTable } from '@fleetwire/runtime/configuration';
import { describe, expect, it } from 'vitest';
import { readQueryApiConfiguration, queryApiVariables } from '../src/configuration.ts';

const least = { DATABASE_URL: 'postgres://db/fleetwire', AUTH_JWKS: '{}' };

describe('the configuration', () => {
  it('requires a database and keys only', () => {
    expect(readQueryApiConfiguration(least)).toMatchObject({ port: 8081, host: '127.0.0.1', authMode: 'jwt' });
    expect(() => readQueryApiConfiguration({})).toThrow(
      expect.objectContaining({ problems: [expect.any(String), expect.any(String)] }),
    );
  });

  it('requires a statement timeout below the circuit timeout', () => {
    const wrong = { ...least, STATEMENT_TIMEOUT_MS: '5000', BREAKER_TIMEOUT_MS: '5000' };
    expect(() => readQueryApiConfiguration(wrong)).toThrow('STATEMENT_TIMEOUT_MS < BREAKER_TIMEOUT_MS');
  });

  it('matches the documentation (vitest -u writes it)', async () => {
    const page = `# Configuration of query-api\n\n${variablesTable(queryApiVariables)}`;
    await expect(page).toMatchFileSnapshot('../../../docs/configuration/query-api.md');
  });
});
