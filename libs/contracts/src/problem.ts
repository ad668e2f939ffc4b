/** Why a frame, a reading or a message was refused: machine-readable code, the field, and a sentence for people. */
export type Problem = {
  readonly code: ProblemCode;
  /** Path of the field as a person would write it: `readings[3].metrics.temp`; empty for the whole message. */
  readonly field: string;
  readonly message: string;
};

export const problemCodes = [
  'malformed-json',
  'binary-frame',
  'unknown-type',
  'missing-field',
  'wrong-type',
  'limit-exceeded',
  'forbidden-name',
  'unstorable-text',
  'not-finite',
  'timestamp-out-of-range',
  'unsupported-version',
  'forbidden',
] as const;

export type ProblemCode = (typeof problemCodes)[number];

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: Problem };

export function accepted<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

export function refused(code: ProblemCode, field: string, message: string): { ok: false; problem: Problem } {
  return { ok: false, problem: { code, field, message: field === '' ? message : `${field} ${message}` } };
}

/** The same problem seen from one level further out: `metrics.temp` inside `readings[3]`. */
export function within(prefix: string, problem: Problem): Problem {
  if (prefix === '') return problem;
  const field = problem.field === '' ? prefix : `${prefix}.${problem.field}`;
  const sentence = problem.field === '' ? problem.message : problem.message.slice(problem.field.length + 1);
  return { code: problem.code, field, message: `${field} ${sentence}` };
}
