/** JSON Schema, as far as the document uses it. */
interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema | false;
  readonly prefixItems?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
}

interface Content {
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

interface Operation {
  readonly parameters: readonly {
    name: string;
    in: 'path' | 'query' | 'header';
    required: boolean;
    explode?: boolean;
    schema: Schema;
  }[];
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content & { readonly $ref?: string }>>;
}

export interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly responses: Readonly<Record<string, Content>>;
  };
}

const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];

/** The types of the document in the form that openapi-fetch expects (that of openapi-typescript). */
export function typesOfDocument({ paths, components }: OpenApiDocument): string {
  const schemas = Object.entries(components.schemas).map(([name, schema]) => `    ${name}: ${typeOf(schema)};`);
  const operations = Object.entries(paths).map(([path, byMethod]) => {
    const members = methods.map((method) => {
      const operation = byMethod[method];
      return operation === undefined ? `    ${method}?: never;` : `    ${method}: ${operationType(operation)};`;
    });
    return `  ${JSON.stringify(path)}: {\n${members.join('\n')}\n  };`;
  });
  const repeated = new Set(
    Object.values(paths)
      .flatMap((byMethod) => Object.values(byMethod))
      .flatMap(({ parameters }) => parameters.filter(({ explode }) => explode).map(({ name }) => name)),
  );
  return [
    '// Generated from docs/openapi.json by libs/client/test/openapi.unit.test.ts (vitest -u writes it).',
    '',
    'export interface components {\n  schemas: {',
    ...schemas,
    '  };\n}\n\nexport interface paths {',
    ...operations,
    '}',
    '',
    '/** Lists whose members may contain commas: the parameter is repeated. */',
    `export const repeatedParameters: ReadonlySet<string> = new Set(${JSON.stringify([...repeated].sort())});`,
    '',
  ].join('\n');

  function operationType({ parameters, requestBody, responses }: Operation): string {
    const places = (['path', 'query', 'header'] as const).map((place) => {
      const own = parameters.filter((one) => one.in === place);
      if (own.length === 0) return `${place}?: never`;
      // Options that were not given are left out of the request.
      const members = own.map(
        ({ name, required, schema }) => `${member(name, schema, required)}${required ? '' : ' | undefined'}`,
      );
      return `${place}${own.some(({ required }) => required) ? '' : '?'}: { ${members.join('; ')} }`;
    });
    const answers = Object.entries(responses).map(([status, response]) => {
      const { content } = response.$ref === undefined ? response : components.responses[nameOf(response.$ref)]!;
      return `${status}: { headers: { [name: string]: unknown }; content: ${contentType(content)} }`;
    });
    const body =
      requestBody === undefined
        ? 'requestBody?: never'
        : `requestBody: { content: ${contentType(requestBody.content)} }`;
    return `{ parameters: { ${places.join('; ')} }; ${body}; responses: { ${answers.join('; ')} } }`;
  }
}

/** Streams in other formats are left out where there is JSON: a call that wants one says how it is parsed, and gets no type from here. */
function contentType(content: Content['content'] = {}): string {
  const json = 'application/json';
  return `{ ${Object.entries(content)
    .filter(([type]) => type === json || !(json in content))
    .map(([type, { schema }]) => `${JSON.stringify(type)}: ${typeOf(schema)}`)
    .join('; ')} }`;
}

function member(name: string, schema: Schema, isRequired: boolean): string {
  return `${JSON.stringify(name)}${isRequired ? '' : '?'}: ${typeOf(schema)}`;
}

function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return `components['schemas'][${JSON.stringify(nameOf(schema.$ref))}]`;
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((one) => JSON.stringify(one)).join(' | ');
  if (schema.anyOf !== undefined) return schema.anyOf.map((one) => `(${typeOf(one)})`).join(' | ');
  switch (schema.type) {
    case 'string':
    case 'boolean':
    case 'null':
      return schema.type;
    case 'integer':
    case 'number':
      return 'number';
    case 'array':
      if (schema.prefixItems !== undefined) return `[${schema.prefixItems.map(typeOf).join(', ')}]`;
      return `(${typeOf(schema.items || {})})[]`;
    case 'object':
      return objectType(schema);
    default:
      return 'unknown';
  }
}

function objectType({ properties = {}, required = [], patternProperties = {}, additionalProperties }: Schema): string {
  const members = Object.entries(properties).map(([name, schema]) => member(name, schema, required.includes(name)));
  const [pattern] = Object.values(patternProperties);
  const isOpen = additionalProperties === true || (members.length === 0 && pattern === undefined);
  if (members.length === 0 && pattern !== undefined) return `{ [name: string]: ${typeOf(pattern)} }`;
  if (isOpen || pattern !== undefined) members.push('[name: string]: unknown');
  return `{ ${members.join('; ')} }`;
}

function nameOf(reference: string): string {
  return reference.split('/').at(-1)!;
}
