import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import { liveStreamOperations } from '../src/live-stream.ts';
import { sessionOperations } from '../src/sessions/session-routes.ts';
import { openApiDocument } from '../src/openapi.ts';
import { plainRoutes } from '../src/plain-routes.ts';
import { routes } from '../src/routes.ts';

const documentFile = new URL('../../../docs/openapi.json', import.meta.url);
const document = openApiDocument() as {
  paths: Record<
    string,
    Record<string, { operationId: string; parameters: { name: string; in: string; required: boolean }[] }>
  >;
  components: { schemas: Record<string, unknown> };
};
const operations = Object.values(document.paths).flatMap((path) => Object.values(path));

describe('the OpenAPI document', () => {
  it('matches docs/openapi.json (vitest -u writes it)', async () => {
    await expect(`${JSON.stringify(document, null, 2)}\n`).toMatchFileSnapshot(documentFile.pathname);
  });

  it('is valid OpenAPI 3.1', async () => {
    const validator = new Validator();
    const result = await validator.validate(structuredClone(document));
    expect(result.errors).toBeUndefined();
    expect(result.valid).toBe(true);
    expect(validator.version).toBe('3.1');
  });

  it('passes the lint of Redocly without an error', async () => {
    const program = new URL('../node_modules/@redocly/cli/bin/cli.js', import.meta.url).pathname;
    const args = ['lint', documentFile.pathname, '--extends=spec', '--format=stylish'];
    const lint = promisify(execFile)(process.execPath, [program, ...args], {
      env: { PATH: process.env['PATH'], REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
    });
    await lint.catch(({ stdout, stderr }) => expect.fail(`${stdout}${stderr}`));
  });

  it('refers only to schemas that it contains', () => {
    const references = JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g);
    for (const [, name] of references) expect(document.components.schemas).toHaveProperty(name ?? '');
  });

  it('describes every route and the HTTP operations of ingest-ws, each with a unique operationId', () => {
    expect(operations).toHaveLength(
      routes.length + sessionOperations.length + liveStreamOperations.length + plainRoutes.length + 2,
    );
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
    expect(document.paths).toHaveProperty(['/api/v1/telemetry', 'post', 'requestBody']);
  });

  it('requires no parameter that has a default', () => {
    const { parameters = [] } = document.paths['/api/v1/devices/{id}/readings']?.['get'] ?? {};
    expect(parameters.filter(({ required }) => required).map(({ name }) => name)).toEqual(['id']);
  });
});
