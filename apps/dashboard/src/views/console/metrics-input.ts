/** A value as typed: a number, true, false, JSON in braces, or else a text. */
export function typedValue(text: string): unknown {
  const trimmed = text.trim();
  if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true';
  if (trimmed !== '' && /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(trimmed)) return Number(trimmed);
  if (trimmed.startsWith('{')) {
    try {
      return JSON.parse(trimmed);
    } catch {
      return trimmed;
    }
  }
  const quoted = /^"(.*)"$/s.exec(trimmed);
  return quoted === null ? trimmed : quoted[1];
}

type TypedMetrics =
  | { readonly ok: true; readonly metrics: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly why: string };

/** Lines like `temperature = 21.5`; empty ones are left out. */
export function typedMetrics(lines: readonly string[]): TypedMetrics {
  const metrics: Record<string, unknown> = {};
  for (const line of lines) {
    if (line.trim() === '') continue;
    const at = line.indexOf('=');
    const name = line.slice(0, at).trim();
    if (at < 0 || name === '')
      return { ok: false, why: `"${line.trim()}" has no name and value: write temperature = 21.5` };
    metrics[name] = typedValue(line.slice(at + 1));
  }
  return Object.keys(metrics).length === 0
    ? { ok: false, why: 'Write at least one metric: temperature = 21.5' }
    : { ok: true, metrics };
}
