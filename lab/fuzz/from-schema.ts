import fc from 'fast-check';
import { Members, type JsonTree, Verbatim } from './json-tree.ts';
import { nastyText, nastyTree } from './nasty.ts';

/** The parts of JSON Schema that the API's and the protocol's schemas use. */
export interface JsonSchema {
  readonly $ref?: string;
  readonly anyOf?: readonly JsonSchema[];
  readonly enum?: readonly (string | number | boolean | null)[];
  readonly const?: string | number | boolean | null;
  readonly type?: string;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: JsonSchema;
  /** Of a tuple; `items` is false then. */
  readonly prefixItems?: readonly JsonSchema[];
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly patternProperties?: Readonly<Record<string, JsonSchema>>;
  readonly examples?: readonly unknown[];
}

export interface SchemaContext {
  /** The schema that a `$ref` names. */
  readonly resolve: (reference: string) => JsonSchema;
  /** Good values for members of these names, which a schema alone would hardly produce: an id that exists, a time in range. */
  readonly hints: Readonly<Record<string, fc.Arbitrary<JsonTree>>>;
}

const itemsMax = 4;
const textCharactersMax = 200;

/** Mostly values of the schema; at every level sometimes a value that is not. */
export function valuesOf(schema: JsonSchema, context: SchemaContext): fc.Arbitrary<JsonTree> {
  return fc.oneof({ weight: 30, arbitrary: validValues(schema, context) }, { weight: 1, arbitrary: nastyTree });
}

function validValues(schema: JsonSchema, context: SchemaContext): fc.Arbitrary<JsonTree> {
  if (schema.$ref !== undefined) return valuesOf(context.resolve(schema.$ref), context);
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map((each) => valuesOf(each, context)));
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.const !== undefined) return fc.constant(schema.const);
  switch (schema.type) {
    case 'object':
      return objects(schema, context);
    case 'array':
      if (schema.prefixItems !== undefined) return fc.tuple(...schema.prefixItems.map((one) => valuesOf(one, context)));
      return fc.array(valuesOf(schema.items ?? {}, context), {
        maxLength: Math.min(schema.maxItems ?? itemsMax, itemsMax),
      });
    case 'string':
      return texts(schema);
    case 'integer':
      return fc.maxSafeInteger().map((value) => within(value, schema));
    case 'number':
      return fc
        .oneof(fc.integer({ min: -100, max: 100 }), fc.double({ noNaN: true, noDefaultInfinity: true }))
        .map(literal);
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    default:
      return nastyTree;
  }
}

/** Texts of the schema, and sometimes others. */
export function textsOf(schema: JsonSchema): fc.Arbitrary<string> {
  return fc.oneof({ weight: 3, arbitrary: texts(schema) }, { weight: 2, arbitrary: nastyText });
}

function texts({
  pattern,
  minLength = 0,
  maxLength = textCharactersMax,
  examples = [],
}: JsonSchema): fc.Arbitrary<string> {
  if (examples.length > 0) return fc.constantFrom(...examples.map(String));
  if (pattern !== undefined) return matching(pattern);
  return fc.string({ unit: 'grapheme', minLength, maxLength: Math.min(maxLength, textCharactersMax) });
}

/** Texts of a pattern; words where the pattern uses what fast-check does not support (lookahead). */
function matching(pattern: string): fc.Arbitrary<string> {
  try {
    return fc.stringMatching(new RegExp(pattern), { maxLength: 40 });
  } catch {
    return fc.constantFrom('temperature', 'humidity', 'door open', 'é', 'a.b', '0');
  }
}

function objects(schema: JsonSchema, context: SchemaContext): fc.Arbitrary<Members> {
  const { properties = {}, required = [], patternProperties = {} } = schema;
  const members = Object.entries(properties).map(([name, property]) => {
    const hint = context.hints[name];
    const value =
      hint === undefined
        ? valuesOf(property, context)
        : fc.oneof({ weight: 20, arbitrary: hint }, { weight: 1, arbitrary: valuesOf(property, context) });
    const isPresent = required.includes(name) ? chance(49, 50) : chance(1, 2);
    return fc.tuple(fc.constant(name), value, isPresent);
  });
  const named = fc
    .tuple(...members)
    .map((all) => all.flatMap(([name, value, isPresent]) => (isPresent ? [[name, value] as const] : [])));
  const patterned = Object.entries(patternProperties).map(([pattern, property]) =>
    fc.array(fc.tuple(matching(pattern), valuesOf(property, context)), { minLength: 1, maxLength: 3 }),
  );
  return fc
    .tuple(named, fc.tuple(...patterned), extraMembers(Object.keys(properties)))
    .map(([known, others, extra]) => new Members([...known, ...others.flat(), ...extra]));
}

/** Sometimes a member that the schema does not know, or a second one of the same name. */
function extraMembers(names: readonly string[]): fc.Arbitrary<readonly (readonly [string, JsonTree])[]> {
  const name = names.length === 0 ? nastyText : fc.oneof(fc.constantFrom(...names), nastyText);
  return fc.oneof(
    { weight: 30, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(fc.tuple(name, nastyTree), { minLength: 1, maxLength: 2 }) },
  );
}

function chance(part: number, of: number): fc.Arbitrary<boolean> {
  return fc.integer({ min: 1, max: of }).map((drawn) => drawn <= part);
}

function literal(value: number): JsonTree {
  return Object.is(value, -0) ? new Verbatim('-0') : value;
}

function within(
  value: number,
  { minimum = Number.MIN_SAFE_INTEGER, maximum = Number.MAX_SAFE_INTEGER }: JsonSchema,
): number {
  const span = maximum - minimum + 1;
  return Number.isSafeInteger(span) ? minimum + (Math.abs(value) % span) : Math.min(Math.max(value, minimum), maximum);
}
