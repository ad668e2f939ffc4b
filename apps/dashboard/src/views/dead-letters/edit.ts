import { findUnstorableText, parseJsonText } from '@fleetwire/contracts/json-text';
import { limits } from '@fleetwire/contracts/limits';
import { parseTimestamp } from '@fleetwire/contracts/timestamp';
import type { Details } from './types.ts';

const identityNames = ['deviceId', 'epoch', 'seq'] as const;
type JsonObject = Readonly<Record<string, unknown>>;
export type Identity = Pick<Details, (typeof identityNames)[number]>;

/** The names of its identity that a dead letter lacks: only these can be filled in. */
export function missingIdentity(letter: Identity): readonly (typeof identityNames)[number][] {
  return identityNames.filter((name) => letter[name] === null);
}

/** The part of a reading that can be edited, as text. Where nothing could be decoded it is a form to fill in. */
export function editableText(letter: Identity & Pick<Details, 'payload'>): string {
  const json = letter.payload.json;
  const reading = isObject(json) ? json : {};
  const empty = { deviceId: '', epoch: '', seq: 0 };
  const shown = {
    ...Object.fromEntries(missingIdentity(letter).map((name) => [name, reading[name] ?? empty[name]])),
    ts: reading['ts'] ?? new Date(0).toISOString(),
    metrics: reading['metrics'] ?? (reading['value'] === undefined ? {} : { value: reading['value'] }),
  };
  return JSON.stringify(shown, null, 2);
}

export type Checked =
  | { readonly ok: true; readonly replacement: JsonObject }
  /** `at` is where in the text it is, if it is known. */
  | { readonly ok: false; readonly text: string };

/**
 * Checks an edited copy while it is typed, by the limits that devices have. The server decides: it checks the copy by the whole contract.
 */
export function checkEdit(text: string, letter: Identity, now: number): Checked {
  const parsed = parseJsonText(text);
  if (!parsed.ok) return refused(parsed.issue.message.replace(/^not JSON: /, 'This is not JSON: '));
  const { value } = parsed.value;
  if (!isObject(value)) return refused('The copy must be an object with ts and metrics');
  const allowed: readonly string[] = [...missingIdentity(letter), 'ts', 'metrics'];
  const fixed = identityNames.find((name) => name in value && !allowed.includes(name));
  if (fixed !== undefined) return refused(`${fixed} identifies the reading and cannot be changed; remove it`);
  const unknown = Object.keys(value).find((name) => !allowed.includes(name));
  if (unknown !== undefined)
    return refused(`${unknown} is not a member of a reading; members are ${allowed.join(', ')}`);
  const unstorable = findUnstorableText('', value);
  if (unstorable !== undefined) return refused(unstorable.message);
  const identity = identityProblem(value, missingIdentity(letter));
  if (identity !== undefined) return refused(identity);
  if (value['ts'] === undefined) return refused('ts is missing; a reading with a seq carries its own time');
  const time = parseTimestamp(value['ts'], now);
  if (!time.ok) return refused(time.issue.message);
  const metrics = metricsProblem(value['metrics']);
  return metrics === undefined ? { ok: true, replacement: value } : refused(metrics);
}

function identityProblem(value: JsonObject, missing: readonly (typeof identityNames)[number][]): string | undefined {
  for (const name of missing) {
    const given = value[name];
    if (name === 'seq') {
      if (!Number.isSafeInteger(given) || (given as number) < 0) return 'seq must be a whole number, 0 or greater';
    } else if (typeof given !== 'string' || given === '') return `${name} must be a text that is not empty`;
  }
  return undefined;
}

function metricsProblem(metrics: unknown): string | undefined {
  if (metrics === undefined) return 'metrics is missing';
  if (!isObject(metrics)) return 'metrics must be an object of names and values';
  const entries = Object.entries(metrics);
  if (entries.length === 0) return 'metrics must have at least one metric';
  if (entries.length > limits.metricsPerReadingMax)
    return `metrics has ${entries.length} metrics; at most ${limits.metricsPerReadingMax}`;
  for (const [name, value] of entries) {
    const problem = nameProblem(name) ?? valueProblem(value);
    if (problem !== undefined) return `metrics.${name} ${problem}`;
  }
  return undefined;
}

const prototypeNames = ['__proto__', 'prototype', 'constructor'];

function nameProblem(name: string): string | undefined {
  if (name === '' || name.length > limits.metricNameCharactersMax)
    return `has a name of ${name.length} characters; allowed are 1 to ${limits.metricNameCharactersMax}`;
  if (/\p{Cc}/u.test(name.replaceAll(/[\u0080-\u009f]/g, ''))) return 'has a control character in its name';
  return prototypeNames.includes(name) ? 'is a name that is not allowed' : undefined;
}

/** Names and levels inside of an object value. */
function nestedProblem(value: unknown, level: number): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (level > limits.objectValueDepthMax) return `is nested deeper than ${limits.objectValueDepthMax} levels`;
  for (const [name, member] of Object.entries(value)) {
    if (prototypeNames.includes(name)) return `has the name ${name}, which is not allowed`;
    const problem = nestedProblem(member, level + 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function valueProblem(value: unknown): string | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : 'is not a finite number';
  if (typeof value === 'boolean') return undefined;
  if (typeof value === 'string')
    return value.length > limits.textValueCharactersMax
      ? `has ${value.length} characters; at most ${limits.textValueCharactersMax}`
      : undefined;
  if (!isObject(value)) return 'must be a number, a boolean, a text or an object';
  const nested = nestedProblem(value, 1);
  if (nested !== undefined) return nested;
  const bytes = new TextEncoder().encode(JSON.stringify(value)).length;
  return bytes > limits.objectValueBytesMax
    ? `is ${bytes} bytes of JSON; at most ${limits.objectValueBytesMax}`
    : undefined;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refused(text: string): { ok: false; text: string } {
  return { ok: false, text };
}

export interface DiffLine {
  readonly kind: 'same' | 'removed' | 'added';
  readonly text: string;
}

/** Lines of two texts: what both have, what only the first has, what only the second has. By the longest common subsequence. */
export function diffLines(before: string, after: string): DiffLine[] {
  const [a, b] = [before.split('\n'), after.split('\n')];
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      lengths[i * width + j] =
        a[i] === b[j]
          ? lengths[(i + 1) * width + j + 1]! + 1
          : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!);
  const lines: DiffLine[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push({ kind: 'same', text: a[i]! });
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!)) {
      lines.push({ kind: 'removed', text: a[i]! });
      i += 1;
    } else {
      lines.push({ kind: 'added', text: b[j]! });
      j += 1;
    }
  }
  return lines;
}

export interface TextPart {
  readonly text: string;
  readonly isError: boolean;
}

/**
 * Marks in a payload what its error speaks of: text that Postgres cannot store, and what the message of the error quotes.
 * Characters that cannot be seen are written as escapes.
 */
export function markErrors(text: string, message: string): TextPart[] {
  const quoted = [...message.matchAll(/["“']([^"”']{1,200})["”']|(?:^|\s)metrics\.([\w.-]+)/g)]
    .map(([, inQuotes, metric]) => inQuotes ?? metric ?? '')
    .filter((one) => one !== '' && text.includes(one));
  const unstorable = String.raw`\\u0000|\\ud[89a-f][0-9a-f]{2}|\u0000`;
  const pattern = new RegExp([unstorable, ...quoted.map(escapeRegExp)].join('|'), 'gi');
  const parts: TextPart[] = [];
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > at) parts.push({ text: visible(text.slice(at, match.index)), isError: false });
    parts.push({ text: visible(match[0]), isError: true });
    at = match.index + match[0].length;
  }
  if (at < text.length) parts.push({ text: visible(text.slice(at)), isError: false });
  return parts;
}

function escapeRegExp(text: string): string {
  return text.replaceAll(/[$()*+.?[\\\]^{|}]/g, String.raw`\$&`);
}

function visible(text: string): string {
  return text.replaceAll(
    /(?!\n)[\p{Cc}\p{Zl}\p{Zp}\p{Cf}]/gu,
    (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, '0')}`,
  );
}

/** Bytes as lines of 16: `0000  1f 8b 08 …  ........`. */
export function hexLines(base64: string, most = 64): string[] {
  const bytes = Uint8Array.from(atob(base64), (character) => character.codePointAt(0)!);
  const lines: string[] = [];
  for (let at = 0; at < bytes.length && lines.length < most; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCodePoint(byte) : '.')).join('');
    lines.push(`${at.toString(16).padStart(4, '0')}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines;
}
