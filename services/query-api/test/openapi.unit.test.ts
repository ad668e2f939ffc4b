import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import { openApiDocument } from '../src/openapi.ts';
import { routes } from '../src/routes.ts';

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
    await expect(`${JSON.stringify(document, null, 2)}\n`).toMatchFileSnapshot('../../../docs/openapi.json');
  });

  it('is valid OpenAPI 3.1', async () => {
    const validator = new Validator();
    const result = await validator.validate(structuredClone(document));
    expect(result.errors).toBeUndefined();
    expect(result.valid).toBe(true);
    expect(validator.version).toBe('3.1');
  });

  it('refers only to schemas that it contains', () => {
    const references = JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g);
    for (const [, name] of references) expect(document.components.schemas).toHaveProperty(name ?? '');
  });

  it('describes every route and the HTTP operation of ingest-ws, each with a unique operationId', () => {
    expect(operations).toHaveLength(routes.length + 1);
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
    expect(document.paths).toHaveProperty(['/api/v1/telemetry', 'post', 'requestBody']);
  });

  it('requires no parameter that has a default', () => {
    const { parameters = [] } = document.paths['/api/v1/devices/{id}/readings']?.['get'] ?? {};
    expect(parameters.filter(({ required }) => required).map(({ name }) => name)).toEqual(['id']);
  });
});
