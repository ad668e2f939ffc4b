import { type Parsed, type ValidationIssue, accepted, refused } from './validation-issue.ts';

/** Deeper than anything the protocol allows, shallow enough to recurse safely. */
const nestingLevelsMax = 16;

/**
 * Parses JSON and refuses text that Postgres cannot store: NUL and lone surrogates (documentation, 8.14 "JSON Types").
 * JSON can contain these only as `\u` escapes, so text without an escape is not searched.
 */
export function parseJson(text: string): Parsed<unknown> {
  const json = parseJsonText(text);
  if (!json.ok) return json;
  const { value, mayHoldUnstorableText } = json.value;
  const issue = mayHoldUnstorableText ? findUnstorableText('', value) : undefined;
  return issue === undefined ? accepted(value) : { ok: false, issue };
}

/** JSON whose text is checked part by part, so that one bad text refuses its own part only. */
export interface JsonText {
  readonly value: unknown;
  /** The parts are to be checked with {@link findUnstorableText}; false for text without an escape, which is nearly all of it. */
  readonly mayHoldUnstorableText: boolean;
}

export function parseJsonText(text: string): Parsed<JsonText> {
  try {
    return accepted({ value: JSON.parse(text) as unknown, mayHoldUnstorableText: text.includes('\\u') });
  } catch (error) {
    return refused('malformed-json', '', `not JSON: ${(error as Error).message}`);
  }
}

/** The first text in `value`, names included, that Postgres cannot store. */
export function findUnstorableText(field: string, value: unknown): ValidationIssue | undefined {
  return unstorableText(field, value, 1);
}

function unstorableText(field: string, value: unknown, level: number): ValidationIssue | undefined {
  if (typeof value === 'string') {
    if (value.includes('\0')) return refused('unstorable-text', field, 'contains a NUL character').issue;
    return value.isWellFormed() ? undefined : refused('unstorable-text', field, 'contains half a surrogate pair').issue;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (level > nestingLevelsMax)
    return refused('limit-exceeded', field, `is nested deeper than ${nestingLevelsMax} levels (nestingLevelsMax)`)
      .issue;
  for (const [name, member] of Object.entries(value)) {
    const path = Array.isArray(value) ? `${field}[${name}]` : field === '' ? name : `${field}.${name}`;
    const issue = unstorableText(field, name, level) ?? unstorableText(path, member, level + 1);
    if (issue !== undefined) return issue;
  }
  return undefined;
}
