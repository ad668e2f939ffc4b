import { badRequest, type FieldProblem } from '@fleetwire/runtime/problem';
import Type, { type TObject, type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';

/** The parts of JSON Schema that parameters use. */
interface ParameterSchema {
  readonly type?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly enum?: readonly unknown[];
  readonly items?: ParameterSchema;
  readonly default?: unknown;
  readonly description?: string;
  readonly examples?: readonly unknown[];
  readonly [repeated]?: true;
}

const repeated = 'x-repeated';

/** A list whose values may contain commas: the parameter is repeated instead. */
export function Repeated<T extends TSchema>(
  items: T,
  options: { readonly maxItems: number; readonly description: string },
) {
  return Type.Array(items, { ...options, minItems: 1, [repeated]: true });
}

export function isRepeated(schema: object): boolean {
  return repeated in schema;
}

/** `values` are valid only if `errors` is empty. */
export interface ParsedParameters {
  readonly values: Record<string, unknown>;
  readonly errors: readonly FieldProblem[];
}

/**
 * Compiles a parser for the parameters of a URL: texts are converted to the schema's types, defaults are filled in,
 * and each invalid or unknown parameter becomes an error that names it and what is allowed.
 */
export function parameterParser(
  where: 'path' | 'query' | 'header',
  schema: TObject,
): (raw: Readonly<Record<string, unknown>>) => ParsedParameters {
  const validator = Compile(schema);
  const properties = schema.properties as Record<string, ParameterSchema>;
  const known = new Map(Object.entries(properties));

  return (raw) => {
    const values: Record<string, unknown> = {};
    for (const [name, property] of known) {
      const text = raw[name];
      const value = text === undefined || text === '' ? property.default : read(property, text);
      if (value !== undefined) values[name] = value;
    }
    const unknown = Object.keys(raw).filter((name) => !known.has(name));
    const unstorable = Object.keys(values).filter((name) => !isStorable(values[name]));
    if (unstorable.length > 0) {
      const detail = 'contains a NUL character or half a surrogate pair; remove it';
      return { values, errors: unstorable.map((name) => ({ field: `${where}.${name}`, detail })) };
    }
    const bad = validator.Check(values) ? [] : validator.Errors(values).flatMap((error) => namesIn(error));
    return {
      values,
      errors: [
        ...[...new Set(bad)].map((name) => ({
          field: `${where}.${name}`,
          detail: refusal(known.get(name) ?? {}, raw[name]),
        })),
        ...unknown.map((name) => ({
          field: `${where}.${name}`,
          detail: `is unknown; accepted are ${[...known.keys()].join(', ') || 'none'}`,
        })),
      ],
    };
  };
}

const noParameters = parameterParser('query', Type.Object({}));

/** Of an operation without parameters. @throws {Problem} 400 */
export function refuseParameters({ query }: { readonly query: unknown }): void {
  const { errors } = noParameters(query as Readonly<Record<string, unknown>>);
  if (errors.length > 0) throw badRequest('Some parameters are not valid', errors);
}

/** What a parameter accepts, in words: `a whole number from 1 to 1000`. */
function expectation(schema: TSchema | ParameterSchema): string {
  const {
    type,
    minimum,
    maximum,
    maxLength,
    maxItems,
    items,
    enum: choices,
    examples,
    description,
  } = schema as ParameterSchema;
  if (choices) return `one of ${choices.join(', ')}`;
  if (type === 'integer')
    return `a whole number from ${minimum ?? Number.MIN_SAFE_INTEGER} to ${maximum ?? Number.MAX_SAFE_INTEGER}`;
  if (type === 'boolean') return 'true or false';
  if (type === 'array') {
    const separation = isRepeated(schema) ? 'each in a parameter of its own' : 'separated by commas';
    return `at most ${maxItems} values ${separation}, each ${expectation(items ?? {})}`;
  }
  if (examples) return `a text like ${examples.join(' or ')}`;
  if (maxLength !== undefined) return `a text of 1 to ${maxLength} characters`;
  return description ?? 'a different value';
}

function read(schema: ParameterSchema, text: unknown): unknown {
  const { type } = schema;
  if (type === 'array' && isRepeated(schema)) return [text].flat();
  if (type === 'array') return [text].flat().flatMap((part) => String(part).split(','));
  if (typeof text !== 'string') return text;
  if (type === 'integer') return /^-?\d{1,16}$/.test(text) ? Number(text) : text;
  if (type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  return text;
}

/** Postgres can store neither character in text. */
function isStorable(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isStorable);
  return typeof value !== 'string' || (value.isWellFormed() && !value.includes('\0'));
}

function refusal(schema: ParameterSchema, given: unknown): string {
  if (given === undefined) return `is missing; expected ${expectation(schema)}`;
  if (Array.isArray(given) && schema.type !== 'array') return 'is given more than once';
  return `is ${(JSON.stringify(given) ?? 'nothing').slice(0, 100)}; expected ${expectation(schema)}`;
}

function namesIn(error: {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: object;
}): string[] {
  if (error.keyword === 'required') return (error.params as { requiredProperties: string[] }).requiredProperties;
  const name = error.instancePath.split('/')[1];
  return name === undefined ? [] : [name];
}
