/** Why a frame, a reading or a message was refused: a code for programs, the field, and a sentence for the log or the device's developer. */
export interface ValidationIssue {
  readonly code: IssueCode;
  /** Path of the field: `readings[3].metrics.temp`; empty for the whole message. */
  readonly field: string;
  readonly message: string;
}

type IssueCode =
  | 'malformed-json'
  | 'unreadable-frame'
  | 'binary-frame'
  | 'unknown-type'
  | 'missing-field'
  | 'wrong-type'
  | 'limit-exceeded'
  | 'forbidden-name'
  | 'unstorable-text'
  | 'not-finite'
  | 'timestamp-out-of-range'
  | 'unsupported-version'
  | 'forbidden';

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly issue: ValidationIssue };

export function accepted<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

export function refused(code: IssueCode, field: string, message: string): { ok: false; issue: ValidationIssue } {
  return { ok: false, issue: { code, field, message: field === '' ? message : `${field} ${message}` } };
}

/** The same issue with its field prefixed by the enclosing one: `metrics.temp` within `readings[3]`. */
export function within(prefix: string, issue: ValidationIssue): ValidationIssue {
  if (prefix === '') return issue;
  const field = issue.field === '' ? prefix : `${prefix}.${issue.field}`;
  const sentence = issue.field === '' ? issue.message : issue.message.slice(issue.field.length + 1);
  return { code: issue.code, field, message: `${field} ${sentence}` };
}
