import { generateKeySet } from '@fleetwire/auth/key-set';
import { createLogger } from '@fleetwire/runtime/logger';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { Compile } from 'typebox/compile';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { expect } from 'vitest';
import { readQueryApiConfiguration } from '../src/configuration.ts';
import { startQueryApi } from '../src/start-query-api.ts';
import type { Operation } from '../src/route.ts';
import { routes } from '../src/routes.ts';

const { privateJwks, publicJwks } = await generateKeySet();
const minter = createTokenMinter({ privateJwks, issuer: 'fleetwire', audience: 'fleetwire' });

export const keys = { privateJwks, publicJwks };

export async function tokenFor(role: string, subject = `the-${role}`): Promise<string> {
  return (await minter.mint({ subject, role, expiresInSeconds: 600 })).token;
}

export interface Reply<T = any> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

export interface RunningApi {
  readonly url: string;
  /** As an analyst by default. Each answer is checked against the schema that its operation declares. */
  get(path: string, options?: { token?: string | undefined; method?: string; body?: unknown }): Promise<Reply>;
  stop(): Promise<void>;
}

/** The whole service on a free port, stopped after the suite. */
export async function startApi(environment: Record<string, string>): Promise<RunningApi> {
  const config = readQueryApiConfiguration({
    PORT: '0',
    AUTH_JWKS: JSON.stringify(privateJwks),
    LOG_LEVEL: 'silent',
    PROBE_INTERVAL_MS: '100',
    ...environment,
  });
  const api = await startQueryApi({
    config,
    logger: await createLogger({ name: 'query-api', level: config.logLevel }),
  });
  cleanUp(() => api.stop());
  const analyst = await tokenFor('analyst');

  return {
    url: api.url,
    get: async (path, { token = analyst, method = 'GET', body } = {}) => {
      const response = await fetch(api.url + path, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      const reply = {
        status: response.status,
        headers: response.headers,
        body: text.startsWith('{') ? JSON.parse(text) : text,
      };
      if (path.startsWith('/api/')) expectAsDeclared(method, path, reply);
      return reply;
    },
    stop: () => api.stop(),
  };
}

function expectAsDeclared(method: string, path: string, { status, headers, body }: Reply): void {
  if (status >= 400) {
    expect(headers.get('content-type')).toBe('application/problem+json');
    expect(body).toMatchObject({ status, title: expect.any(String), type: expect.any(String) });
    return;
  }
  const operation = routes.find((one) => one.method === method.toLowerCase() && pattern(one).test(path));
  if (!operation) throw new Error(`no operation is declared for ${method} ${path}`);
  expect(status).toBe(operation.success.status);
  const declared = Compile(operation.success.schema);
  expect(declared.Errors(body)).toEqual([]);
}

function pattern({ path }: Operation): RegExp {
  return new RegExp(`^/api(/v1)?${path.replace(/\{\w+\}/g, '[^/?]+')}(\\?|$)`);
}
