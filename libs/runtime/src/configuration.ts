import { readFileSync } from 'node:fs';
import { scrub } from './logger.ts';
import type { Variable } from './variables.ts';

export type Environment = Readonly<Record<string, string | undefined>>;
export type Variables = Readonly<Record<string, Variable<unknown>>>;

/** The frozen object that `readConfiguration` returns for a set of variables. */
export type ConfigurationOf<V extends Variables> = {
  readonly [K in keyof V]: V[K] extends Variable<infer T> ? T : never;
};

/** A condition between several values, checked after each of them is valid by itself. */
export interface Relation {
  readonly text: string;
  readonly between: readonly string[];
  readonly holds: (configuration: never) => boolean;
}

/** All problems of the environment, one per line. */
export class ConfigurationError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `The configuration has ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n- ${problems.join('\n- ')}`,
    );
    this.name = 'ConfigurationError';
    this.problems = problems;
  }
}

/** `relation('PREFETCH ≥ BATCH_ROWS_MAX', ['prefetch', 'batchRowsMax'], (c) => c.prefetch >= c.batchRowsMax)` */
export function relation<V extends Variables, K extends keyof V & string>(
  variables: V,
  text: string,
  between: readonly K[],
  holds: (configuration: Pick<ConfigurationOf<V>, K>) => boolean,
): Relation {
  for (const key of between)
    if (!(key in variables)) throw new TypeError(`relation "${text}" names an unknown variable: ${key}`);
  return { text, between, holds };
}

/**
 * Reads all variables into a frozen object.
 * @throws {ConfigurationError} naming every variable that is missing or invalid, and every relation that does not hold
 */
export function readConfiguration<V extends Variables>(
  variables: V,
  environment: Environment,
  relations: readonly Relation[] = [],
): ConfigurationOf<V> {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [key, variable] of Object.entries(variables)) {
    const outcome = readVariable(variable, environment);
    if ('problem' in outcome) problems.push(outcome.problem);
    else values[key] = outcome.value;
  }
  for (const { text, between, holds } of relations) {
    const known = between.every((key) => key in values);
    if (known && !holds(values as never))
      problems.push(`${text}: ${between.map((key) => given(variables[key], values[key])).join(', ')}`);
  }
  if (problems.length > 0) throw new ConfigurationError(problems);
  return Object.freeze(values) as ConfigurationOf<V>;
}

/** One row per variable, for the documentation. */
export interface VariableRow {
  readonly name: string;
  readonly allowed: string;
  readonly unit: string;
  readonly default: string;
  readonly doc: string;
}

export function describeVariables(variables: Variables): VariableRow[] {
  return Object.values(variables).map((variable) => ({
    name: variable.fromFile ? `${variable.name}, ${variable.name}_FILE` : variable.name,
    allowed: variable.allowed,
    unit: variable.unit ?? '',
    default: variable.required ? 'required' : shown(variable.fallback),
    doc: variable.doc,
  }));
}

/**
 * The same as a Markdown table: the pages of docs/configuration, which each service's tests compare and write.
 * @internal
 */
export function variablesTable(variables: Variables): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const rows = describeVariables(variables).map(({ name, allowed, unit, default: value, doc }) => {
    const names = name.split(', ').map((one) => `\`${one}\``);
    const meaning = unit === '' ? allowed : `${allowed}, in ${unit}`;
    return `| ${[names.join(', '), cell(meaning), cell(value), cell(doc)].join(' | ')} |`;
  });
  return ['| Variable | Allowed | Default | Meaning |', '| --- | --- | --- | --- |', ...rows, ''].join('\n');
}

type Outcome = { readonly value: unknown } | { readonly problem: string };

function readVariable(variable: Variable<unknown>, environment: Environment): Outcome {
  const { name, allowed, unit, required, fallback } = variable;
  const source = variable.fromFile ? readText(name, environment) : { text: environment[name] };
  if ('problem' in source) return source;
  const text = source.text;
  const expected = unit === undefined ? allowed : `${allowed}, in ${unit}`;
  if (text === undefined || text === '')
    return required ? { problem: `${name} is missing: expected ${expected}` } : { value: fallback };
  const value = variable.parse(text);
  if (value !== undefined) return { value };
  return {
    problem: `${name} is ${variable.secret ? '(hidden)' : JSON.stringify(scrub(text))}: expected ${expected}`,
  };
}

function readText(
  name: string,
  environment: Environment,
): { readonly text: string | undefined } | { readonly problem: string } {
  const file = environment[`${name}_FILE`];
  if (!file) return { text: environment[name] };
  if (environment[name]) return { problem: `${name} and ${name}_FILE are both set: expected one of them` };
  try {
    return { text: readFileSync(file, 'utf8').trim() };
  } catch (error) {
    return { problem: `${name}_FILE is ${JSON.stringify(file)}: ${(error as Error).message}` };
  }
}

function given(variable: Variable<unknown> | undefined, value: unknown): string {
  return `${variable?.name} is ${variable?.secret ? '(hidden)' : shown(value) || 'not set'}`;
}

/** Values are texts, numbers and booleans. */
function shown(value: unknown): string {
  return typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value);
}
