const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `250ms`, `30s`, `5m`, `1.5h`, `30d`; a bare number is seconds. @returns milliseconds, or undefined for any other text */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  return match === null ? undefined : Number(match[1]) * unitMs[match[2] ?? 's']!;
}
