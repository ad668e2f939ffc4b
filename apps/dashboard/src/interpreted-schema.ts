import type { TSchema } from 'typebox';
import { Check, Errors } from 'typebox/value';

/** Stands for `typebox/compile` in the browser: checks values by walking the schema, without generated code. */
export function Compile(schema: TSchema) {
  return { Check: (value: unknown) => Check(schema, value), Errors: (value: unknown) => Errors(schema, value) };
}
