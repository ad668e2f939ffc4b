import type { Kind, LogLine } from './log-lines.ts';

/** What the viewer has typed: `device:truck-1,frz-* temperature`, and which kinds are chosen. */
export interface Filter {
  /** Ids and patterns; empty for all. */
  readonly devices: readonly string[];
  /** All of them are in the line. */
  readonly words: readonly string[];
}

/** As many as a subscription takes. */
const patternsMax = 20;

type ParsedFilter = { readonly ok: true; readonly filter: Filter } | { readonly ok: false; readonly why: string };

export function parseFilter(text: string): ParsedFilter {
  const devices: string[] = [];
  const words: string[] = [];
  for (const part of text.trim().split(/\s+/).filter(Boolean)) {
    if (!part.startsWith('device:')) words.push(part.toLowerCase());
    else devices.push(...part.slice(7).split(',').filter(Boolean));
  }
  const bad = devices.find((pattern) => !/^[\w.:?*-]{1,128}$/.test(pattern));
  if (bad !== undefined)
    return { ok: false, why: `"${bad}" is no device: allowed are letters, digits and . _ : - with * and ?` };
  if (devices.length > patternsMax)
    return { ok: false, why: `${devices.length} devices and patterns are more than ${patternsMax}` };
  return { ok: true, filter: { devices, words } };
}

/** A test for lines. A line without a device, as of the connection, passes any device. */
export function matcherOf({ devices, words }: Filter, kinds: ReadonlySet<Kind>): (line: LogLine) => boolean {
  const patterns = devices.map(expressionOf);
  return (line) => {
    if (!kinds.has(line.kind)) return false;
    if (patterns.length > 0 && line.deviceId !== '' && !patterns.some((one) => one.test(line.deviceId))) return false;
    if (words.length === 0) return true;
    const text = `${line.type} ${line.deviceId} ${line.content}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
}

function expressionOf(pattern: string): RegExp {
  const source = pattern
    .replaceAll(/[.\\+^$()[\]{}|]/g, String.raw`\$&`)
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`);
}
