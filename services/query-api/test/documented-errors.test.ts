import { limits } from '@fleetwire/contracts/limits';
import { sessionCookieOf, sessionTokenOf } from '@fleetwire/contracts/session';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { liveStreamOperations } from '../src/live-stream.ts';
import { plainRoutes } from '../src/plain-routes.ts';
import type { Operation } from '../src/route.ts';
import { routes } from '../src/routes.ts';
import { createSecrets } from '../src/sessions/secrets.ts';
import { sessionOperations } from '../src/sessions/session-routes.ts';
import { startApi, tokenFor } from './running-api.ts';
import { pathOf, sampleOf } from './sample-calls.ts';
import { freshStore } from './stored.ts';

// Each answer is compared with docs/openapi.json (libs/platform/src/testing/documented-answers.ts), also its headers.

const store = await freshStore();
const { databaseUrl } = store;
const unlimited = { RATE_LIMIT_PER_MINUTE: '1000000' };
const api = await startApi({ DATABASE_URL: databaseUrl, ...unlimited });

const below = (base: string) => (operation: Operation) => ({ ...operation, path: `${base}${operation.path}` });
const operations = [
  ...[...routes, ...liveStreamOperations, ...sessionOperations].map(below('/api/v1')),
  ...plainRoutes.map(below('/api')),
];
const signIn = operations.find(({ operationId }) => operationId === 'signIn')!;
const others = operations.filter((operation) => operation !== signIn);
const withBody = operations.filter(({ body }) => body !== undefined);

interface Sent {
  readonly url?: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

async function call({ method, path }: Operation, { url = api.url, query = '', headers = {}, body }: Sent) {
  const response = await fetch(`${url}${pathOf(path)}${query}`, {
    method: method.toUpperCase(),
    headers: { 'content-type': 'application/json', ...headers },
    ...(body !== undefined && {
      body: typeof body === 'object' && !Buffer.isBuffer(body) ? JSON.stringify(body) : (body as string),
    }),
  });
  const text = await response.text();
  return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : text };
}

const bearer = async (role: string) => ({ authorization: `Bearer ${await tokenFor(role, 'pump-1')}` });
/** Of a role that may call it. */
const permitted = ({ roles }: Operation) => bearer(roles.at(-1)!);
/** A session that is not stored, of which this has to be found out first. */
const session = (url = api.url) => ({
  cookie: `${sessionCookieOf(new URL(url).host)}=${sessionTokenOf(createSecrets(databaseUrl, 'sessions').create())}`,
  'sec-fetch-site': 'same-origin',
});
const code = () => ({ code: createSecrets(databaseUrl, 'sign-in codes').create() });

/** The status that each operation answers, where it is not `expected`. */
async function differing(
  of: readonly Operation[],
  expected: number,
  answer: (operation: Operation) => Promise<{ status: number; body: unknown }>,
) {
  const found: string[] = [];
  for (const operation of of) {
    const { status, body } = await answer(operation);
    if (status !== expected) found.push(`${operation.operationId} ${status} ${JSON.stringify(body).slice(0, 300)}`);
  }
  return found;
}

describe('every operation answers', () => {
  it('401 without a token, and to a session that is not known', async () => {
    expect(await differing(others, 401, (operation) => call(operation, {}))).toEqual([]);
    expect(await differing(others, 401, (operation) => call(operation, { headers: session() }))).toEqual([]);
    expect((await call(signIn, { body: { token: 'x.y.z' } })).status).toBe(401);
  });

  it('403 to roles that may not call it, and to pages of other origins', async () => {
    for (const role of ['device', 'analyst', 'operator'] as const) {
      const headers = await bearer(role);
      const forbidden = others.filter(({ roles }) => !roles.includes(role));
      expect(await differing(forbidden, 403, (operation) => call(operation, { headers }))).toEqual([]);
    }
    const headers = { ...session(), 'sec-fetch-site': 'cross-site' };
    expect(await differing(operations, 403, (operation) => call(operation, { headers }))).toEqual([]);
  });

  it('403 to a device that asks for another one', async () => {
    const ofDevices = others.filter(({ path, roles }) => path.includes('/devices/{id}') && roles.includes('device'));
    expect(ofDevices.length).toBeGreaterThan(8);
    const headers = { authorization: `Bearer ${await tokenFor('device', 'pump-2')}` };
    expect(await differing(ofDevices, 403, (operation) => call(operation, { headers }))).toEqual([]);
  });

  it('400 to a parameter that it does not know, naming it', async () => {
    for (const operation of operations) {
      const { status, body } = await call(operation, {
        query: '?surprise=1',
        headers: await permitted(operation),
        ...(operation.body && { body: sampleOf(operation.operationId).body ?? code() }),
      });
      expect([operation.operationId, status, body.errors?.[0]?.field]).toEqual([
        operation.operationId,
        400,
        'query.surprise',
      ]);
    }
  });

  it('400 to a body that is not JSON, or is missing, naming it', async () => {
    expect(withBody.length).toBeGreaterThan(20);
    for (const operation of withBody)
      for (const body of ['{', '"text"', undefined]) {
        const answer = await call(operation, { headers: await permitted(operation), body });
        expect([operation.operationId, body, answer.status, answer.body.errors?.[0]?.field]).toEqual([
          operation.operationId,
          body,
          400,
          expect.stringMatching(/^body/),
        ]);
      }
  });

  it('413 to a body that is too large, and 415 to one that it cannot read', async () => {
    const large = Buffer.alloc(limits.payloadBytesMax + 1, ' ');
    expect(
      await differing(withBody, 413, async (operation) =>
        call(operation, { headers: await permitted(operation), body: large }),
      ),
    ).toEqual([]);
    expect(
      await differing(withBody, 415, async (operation) =>
        call(operation, { headers: { ...(await permitted(operation)), 'content-encoding': 'rot13' }, body: {} }),
      ),
    ).toEqual([]);
  });

  it('429 above RATE_LIMIT_PER_MINUTE, and above REFUSED_TOKENS_PER_MINUTE_MAX', async () => {
    const { url } = await startApi({
      DATABASE_URL: databaseUrl,
      RATE_LIMIT_PER_MINUTE: '1',
      REFUSED_TOKENS_PER_MINUTE_MAX: '1',
    });
    for (const role of ['device', 'analyst', 'operator', 'admin'])
      expect((await fetch(`${url}/api/v1/live/position`, { headers: await bearer(role) })).status).toBe(200);
    // Services ask for sessions in the caller's name, which is no call of the caller.
    const limited = others.filter(({ operationId }) => operationId !== 'getSession');
    expect(
      await differing(limited, 429, async (operation) => call(operation, { url, headers: await permitted(operation) })),
    ).toEqual([]);
    const token = await tokenFor('analyst', 'pump-1');
    expect((await call(signIn, { url, body: { token } })).status).toBe(429);
    const refused = async () =>
      (await fetch(`${url}/api/v1/session`, { headers: { authorization: 'Bearer x' } })).status;
    expect([await refused(), await refused()]).toEqual([401, 429]);
  });
});

/** What is answered without the database, to a caller with a token. */
const withoutDatabase: Readonly<Record<string, number>> = {
  getStatus: 200,
  getPlainStatus: 200,
  listAlarms: 200,
  listInstances: 200,
  getSession: 200,
  signOut: 400,
  mintToken: 201,
  addReading: 501,
  addReadings: 501,
  watchLive: 501,
  watchLiveByBody: 501,
  createExport: 501,
  listExports: 501,
  getExport: 501,
  getExportFile: 501,
  deleteExport: 501,
};

/** Calls each operation as it should be called, and those that do not need the database with a session, which does. */
async function expectStatuses(url: string, status: number): Promise<void> {
  const expected = async (of: Operation, as: number, sent: Sent) => {
    // On a busy machine a connection to the database may not be there in time: 503, and the call is repeated.
    const attempt = async () => {
      const answer = await call(of, { url, ...sent });
      expect([of.operationId, answer.status, answer.body]).toEqual([of.operationId, as, expect.anything()]);
    };
    await eventually(attempt);
  };
  const waiting = [...operations];
  const work = async () => {
    for (let of = waiting.pop(); of !== undefined; of = waiting.pop()) {
      const { operationId: name, body } = of;
      const sample = sampleOf(name);
      const headers = { ...(await permitted(of)), ...sample.headers };
      // It tells of the broker, which there is none of.
      const own = name === 'listQueues' ? 503 : (withoutDatabase[name] ?? status);
      await expected(of, own, { ...sample, headers, ...(body && { body: sample.body ?? code() }) });
      if (own !== status) await expected(of, status, { headers: session(url) });
    }
  };
  await Promise.all([work(), work(), work(), work()]);
}

describe('every operation that needs the database answers, and any operation to a session', () => {
  it('503 with Retry-After while the database is away', async () => {
    const away = Object.assign(new URL(databaseUrl), { hostname: '127.0.0.1', port: '9' });
    const { url } = await startApi({ DATABASE_URL: away.href, ...unlimited });
    await expect(expectStatuses(url, 503)).resolves.toBeUndefined();
  });

  it('504 where the database takes too long', async () => {
    const { url } = await startApi({ DATABASE_URL: databaseUrl, STATEMENT_TIMEOUT_MS: '100', ...unlimited });
    const client = await store.database.pool.connect();
    const { rows } = await client.query<{ name: string }>(
      `select quote_ident(relname) as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')`,
    );
    await client.query(`begin; lock table ${rows.map(({ name }) => name).join()} in access exclusive mode`);
    try {
      await expect(expectStatuses(url, 504)).resolves.toBeUndefined();
    } finally {
      await client.query('rollback');
      client.release();
    }
  });

  it('500, and nothing of the cause, where something fails that should not', async () => {
    for (const table of ['sessions', 'sign_in_codes'])
      await store.database.pool.query(
        `alter table ${table} rename to ${table}_kept; create view ${table} as select * from ${table}_kept where 1 / (select 0) = 1`,
      );
    const answers: unknown[] = [];
    for (const operation of operations) {
      // As above, 503 where a connection is not there in time.
      const { status, body } = await eventually(async () => {
        const answer = await call(operation, operation === signIn ? { body: code() } : { headers: session() });
        expect([operation.operationId, answer.status]).not.toEqual([operation.operationId, 503]);
        return answer;
      });
      expect([operation.operationId, status, body.title]).toEqual([
        operation.operationId,
        500,
        'Internal server error',
      ]);
      answers.push(body);
    }
    expect(JSON.stringify(answers)).not.toContain('zero');
  });
});
