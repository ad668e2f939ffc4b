import { readFile } from 'node:fs/promises';
import type { JsonSchema } from './from-schema.ts';

export interface ApiOperation {
  readonly service: 'query-api' | 'ingest-ws';
  readonly method: string;
  /** With parameters in braces: `/api/v1/devices/{id}`. */
  readonly path: string;
  /** `Dead letters` */
  readonly tag: string;
  readonly parameters: readonly {
    readonly in: 'path' | 'query' | 'header';
    readonly name: string;
    readonly schema: JsonSchema;
  }[];
  readonly body: JsonSchema | undefined;
}

export interface ApiDescription {
  readonly operations: readonly ApiOperation[];
  readonly resolve: (reference: string) => JsonSchema;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> };
}

interface DocumentedOperation {
  readonly tags: readonly string[];
  readonly servers?: unknown;
  readonly parameters?: ApiOperation['parameters'];
  readonly responses: Readonly<Record<string, { readonly content?: object }>>;
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: JsonSchema }>> };
}

/** Every HTTP operation but streams of events, which have no end, from the document that query-api's own test keeps equal to the routes. */
export async function readApiDescription(): Promise<ApiDescription> {
  const text = await readFile(new URL('../../docs/openapi.json', import.meta.url), 'utf8');
  const { paths, components } = JSON.parse(text) as Document;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => !isEventStream(operation))
      .map(([method, { tags, servers, parameters = [], requestBody }]): ApiOperation => ({
        service: servers === undefined ? 'query-api' : 'ingest-ws',
        method: method.toUpperCase(),
        path,
        tag: tags[0] ?? '',
        parameters,
        body: requestBody === undefined ? undefined : Object.values(requestBody.content)[0]?.schema,
      })),
  );
  const resolve = (reference: string): JsonSchema => {
    const schema = components.schemas[reference.replace('#/components/schemas/', '')];
    if (schema === undefined) throw new Error(`docs/openapi.json has no ${reference}`);
    return schema;
  };
  return { operations, resolve };
}

function isEventStream({ responses }: DocumentedOperation): boolean {
  return 'text/event-stream' in (responses['200']?.content ?? {});
}
