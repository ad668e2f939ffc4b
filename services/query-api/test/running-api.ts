import { generateKeySet } from '@fleetwire/auth/key-set';
import { createLogger } from '@fleetwire/runtime/logger';
import { createTokenMinter } from '@fleetwire/auth/tokens';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { compareAnswersOf } from '@fleetwire/platform/testing/documented-answers';
import { readQueryApiConfiguration } from '../src/configuration.ts';
import { startQueryApi } from '../src/start-query-api.ts';

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

interface CallOptions {
  readonly token?: string | undefined;
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface RunningApi {
  readonly url: string;
  /** As an analyst by default. */
  get(path: string, options?: CallOptions): Promise<Reply>;
  stop(): Promise<void>;
}

/** The whole service on a free port, stopped after the suite. Each of its answers is compared with docs/openapi.json. */
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
  compareAnswersOf(api.url);
  const analyst = await tokenFor('analyst');

  return {
    url: api.url,
    get: async (path, { token = analyst, method = 'GET', body, headers = {} } = {}) => {
      const response = await fetch(api.url + path, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      return {
        status: response.status,
        headers: response.headers,
        body: isJson(response) && text !== '' ? JSON.parse(text) : text,
      };
    },
    stop: () => api.stop(),
  };
}

function isJson({ headers }: Response): boolean {
  return /[/+]json\b/.test(headers.get('content-type') ?? '');
}
