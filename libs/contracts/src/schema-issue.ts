import type { Static, TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import { type Parsed, type ValidationIssue, accepted, refused } from './validation-issue.ts';

type SchemaError = ReturnType<Validator['Errors']>[number];

/** Compiles a schema once into a parser. Checking is generated code; only invalid values cost an explanation. */
export function parserOf<const S extends TSchema>(schema: S): (value: unknown) => Parsed<Static<S>> {
  const validator = Compile(schema);
  return (value) => (validator.Check(value) ? accepted(value) : { ok: false, issue: explain(validator.Errors(value)) });
}

/** Turns JSON Schema errors into one issue that names the field and the limit. */
function explain(errors: readonly SchemaError[]): ValidationIssue {
  const union = errors.find((error) => error.keyword === 'anyOf');
  const limit = errors.find((error) => isLimit(error));
  const error = limit ?? union ?? errors[0];
  if (error === undefined) return refused('wrong-type', '', 'is not valid').issue;
  const field = fieldOf(error.instancePath);
  switch (error.keyword) {
    case 'required': {
      const missing = error.params.requiredProperties;
      return refused('missing-field', field, `lacks ${missing.map((name) => `"${name}"`).join(', ')}`).issue;
    }
    case 'anyOf': {
      const types = errors
        .filter((other) => other.keyword === 'type' && other.instancePath === error.instancePath)
        .map((other) => String((other.params as { type: unknown }).type));
      return refused('wrong-type', field, `must be ${types.length > 0 ? types.join(' or ') : 'of an accepted form'}`)
        .issue;
    }
    default:
      return refused(isLimit(error) ? 'limit-exceeded' : 'wrong-type', field, error.message).issue;
  }
}

const limitKeywords = new Set([
  'maxLength',
  'maximum',
  'minimum',
  'maxItems',
  'minItems',
  'maxProperties',
  'minProperties',
  'minLength',
]);

function isLimit(error: SchemaError): boolean {
  return limitKeywords.has(error.keyword);
}

/** JSON Pointer to property path: `/readings/3/ts` → `readings[3].ts`. */
function fieldOf(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path === '' ? part : `${path}.${part}`), '');
}
