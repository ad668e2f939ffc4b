import Type, { type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import { limits } from './limits.ts';
import { type Parsed, accepted, refused } from './validation-issue.ts';

/** Any JSON value inside an object metric. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

export const MetricValue = Type.Union(
  [
    Type.Number(),
    Type.Boolean(),
    Type.String({ maxLength: limits.textValueCharactersMax }),
    Type.Unsafe<{ readonly [name: string]: Json }>(Type.Object({}, { additionalProperties: true })),
  ],
  {
    description:
      `A finite number (IEEE 754 double), a boolean, a text of at most ${limits.textValueCharactersMax} characters, or an object of at most ` +
      `${limits.objectValueBytesMax} bytes of JSON and ${limits.objectValueDepthMax} levels`,
  },
);
export type MetricValue = Static<typeof MetricValue>;

/** Names that reach an object's prototype in careless code; refused so that no consumer needs a check of its own. */
const prototypeNames = ['__proto__', 'prototype', 'constructor'];

const metricName = `^(?!(?:${prototypeNames.join('|')})$)[^\\u0000-\\u001f\\u007f]{1,${limits.metricNameCharactersMax}}$`;

export const Metrics = Type.Record(Type.String({ pattern: metricName }), MetricValue, {
  minProperties: 1,
  maxProperties: limits.metricsPerReadingMax,
  additionalProperties: false,
  description: `Metric name (1 to ${limits.metricNameCharactersMax} characters, no control characters) to value`,
});
export type Metrics = Readonly<Static<typeof Metrics>>;

const schema = Compile(Metrics);

/** The schema decides. Only object values need further checks, of rules that a schema cannot express: depth and size. */
export function parseMetrics(value: unknown): Parsed<Metrics> {
  if (!schema.Check(value)) return explain(value);
  for (const name in value) {
    const metric = value[name];
    if (typeof metric === 'object') {
      const checked = checkObjectValue(`metrics.${name}`, metric);
      if (!checked.ok) return checked;
    }
  }
  return accepted(value);
}

function checkObjectValue(field: string, value: object): Parsed<unknown> {
  // Depth is checked first: it limits the recursion of the serialiser.
  const nested = checkNested(field, value, {
    levelsMax: limits.objectValueDepthMax,
    limitName: 'objectValueDepthMax',
  });
  if (!nested.ok) return nested;
  const bytes = Buffer.byteLength(JSON.stringify(value));
  return bytes > limits.objectValueBytesMax
    ? refused(
        'limit-exceeded',
        field,
        `is ${bytes} bytes of JSON; at most ${limits.objectValueBytesMax} (objectValueBytesMax)`,
      )
    : accepted(value);
}

interface NestingLimit {
  readonly levelsMax: number;
  readonly limitName: string;
}

/** Refuses numbers that are not finite, names that reach a prototype, and more levels of nesting than allowed. */
export function checkNested(field: string, value: unknown, limit: NestingLimit, depth = 1): Parsed<unknown> {
  if (typeof value === 'number' && !Number.isFinite(value))
    return refused('not-finite', field, 'is not a finite number');
  if (typeof value !== 'object' || value === null) return accepted(value);
  if (depth > limit.levelsMax) {
    return refused('limit-exceeded', field, `is nested deeper than ${limit.levelsMax} levels (${limit.limitName})`);
  }
  for (const [name, member] of Object.entries(value)) {
    if (prototypeNames.includes(name)) return refused('forbidden-name', field, `may not contain the name "${name}"`);
    const nested = checkNested(`${field}.${name}`, member, limit, depth + 1);
    if (!nested.ok) return nested;
  }
  return accepted(value);
}

/** Describes the rule of {@link Metrics} that a value breaks; the schema has decided already that it breaks one. */
function explain(value: unknown): Parsed<never> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return refused('wrong-type', 'metrics', 'must be an object of name → value');
  }
  const names = Object.keys(value);
  if (names.length === 0) return refused('missing-field', 'metrics', 'is empty; a reading has at least one metric');
  if (names.length > limits.metricsPerReadingMax) {
    return refused(
      'limit-exceeded',
      'metrics',
      `has ${names.length} names; at most ${limits.metricsPerReadingMax} (metricsPerReadingMax)`,
    );
  }
  for (const [name, metric] of Object.entries(value)) {
    const field = `metrics.${name}`;
    if (prototypeNames.includes(name))
      return refused('forbidden-name', 'metrics', `may not contain the name "${name}"`);
    if (name.length > limits.metricNameCharactersMax) {
      return refused(
        'limit-exceeded',
        'metrics',
        `has a name of ${name.length} characters; at most ${limits.metricNameCharactersMax} (metricNameCharactersMax)`,
      );
    }
    if (!new RegExp(metricName).test(name))
      return refused('forbidden-name', 'metrics', 'has an empty name or one with control characters');
    if (typeof metric === 'number' && !Number.isFinite(metric))
      return refused('not-finite', field, 'is not a finite number');
    if (typeof metric === 'string' && metric.length > limits.textValueCharactersMax) {
      return refused(
        'limit-exceeded',
        field,
        `is ${metric.length} characters; at most ${limits.textValueCharactersMax} (textValueCharactersMax)`,
      );
    }
    if (metric === null || Array.isArray(metric)) {
      return refused(
        'wrong-type',
        field,
        `must be a number, boolean, string or object, not ${metric === null ? 'null' : 'an array'}`,
      );
    }
  }
  return refused('wrong-type', 'metrics', 'must hold numbers, booleans, strings or objects');
}
