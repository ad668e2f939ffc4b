/** Numbers, units and durations as the pages write them: in the locale of the viewer, with a true minus sign and a no-break space before the unit. */

export const noBreakSpace = '\u00a0';
/** The locale of the viewer: that of the browser. */
export const viewer: { locale: string | undefined } = { locale: undefined };
const minus = '\u2212';

/** A whole number in full: `70,740`. */
export function count(value: number, locale = viewer.locale): string {
  return signed(formatted(Math.round(value), locale));
}

/** A count in a headline: in full below 100,000, above with three significant digits and a word. */
export function headlineCount(
  value: number,
  locale = viewer.locale,
): { readonly value: string; readonly unit: string } {
  const rounded = Math.round(value);
  if (Math.abs(rounded) < 100_000) return { value: count(rounded, locale), unit: '' };
  const [size, unit] =
    Math.abs(rounded) < 999_500
      ? ([1_000, 'thousand'] as const)
      : Math.abs(rounded) < 999_500_000
        ? ([1_000_000, 'million'] as const)
        : ([1_000_000_000, 'billion'] as const);
  return { value: decimal(rounded / size, { significant: 3 }, locale), unit };
}

/** A rate without its unit: two significant digits below 10, whole above. */
export function rate(perSecond: number, locale = viewer.locale): string {
  if (Math.abs(perSecond) >= 9.95) return count(perSecond, locale);
  return perSecond === 0 ? '0' : decimal(perSecond, { significant: 2 }, locale);
}

/** A share as a percentage with two decimals, without its sign; 100.00 only where nothing is missing. */
export function percentage(share: number, locale = viewer.locale): string {
  // 0.57 × 10,000 is a little less than 5,700 in floating point.
  const hundredths = Math.floor(Number((share * 10_000).toPrecision(12)));
  const percent = share < 1 ? Math.min(hundredths, 9_999) / 100 : 100;
  return formatted(percent, locale, twoDecimals);
}

/** Bytes in powers of 1,000: `184 B`, `1.2 MB`. */
export function bytes(value: number, locale = viewer.locale): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const step = value < 1_000 ? 0 : Math.min(Math.floor(Math.log10(value) / 3), units.length - 1);
  return `${decimal(value / 1_000 ** step, { significant: 3 }, locale)}${noBreakSpace}${units[step]}`;
}

/** A value of a metric: numbers with at most the given decimals, texts as they are. The full value is for copying. */
export function metricValue(value: unknown, decimals = 2, locale = viewer.locale): string {
  if (typeof value === 'number') {
    const isSmall = value !== 0 && Math.abs(value) < 10 ** -decimals;
    if (isSmall && Math.abs(value) >= 1e-6) return signed(formatted(value, locale, threeDigits));
    if (isSmall || Math.abs(value) >= 1e15) return signed(value.toPrecision(3));
    return signed(formatted(value, locale, { maximumFractionDigits: decimals }));
  }
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A number in a column: with as many decimals as all others of it, so that they stand below each other. */
export function columnValue(value: number, decimals: number, locale = viewer.locale): string {
  return signed(value.toLocaleString(locale, { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
}

/** The decimals that a series needs: those of its values, at most 3. */
export function decimalsOf(values: Iterable<number>, most = 3): number {
  let decimals = 0;
  for (const value of values) {
    while (decimals < most && Math.abs(value * 10 ** decimals - Math.round(value * 10 ** decimals)) > 1e-6)
      decimals += 1;
    if (decimals === most) break;
  }
  return decimals;
}

const units: readonly (readonly [name: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
];

/** A duration in at most two units: `0.4 s`, `23 min 4 s`, `3 d 4 h`. */
export function duration(ms: number, locale = viewer.locale): string {
  const whole = Math.max(0, ms);
  if (whole < 9_950) {
    const decimals = whole < 995 || whole % 1_000 !== 0 ? 1 : 0;
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    return `${formatted(whole / 1_000, locale, digits)}${noBreakSpace}s`;
  }
  const rounded = Math.round(whole / 1_000) * 1_000;
  const at = units.findIndex(([, size]) => rounded >= size);
  const [name, size] = units[at]!;
  const first = `${Math.floor(rounded / size)}${noBreakSpace}${name}`;
  const next = units[at + 1];
  const rest = next === undefined ? 0 : Math.floor((rounded % size) / next[1]);
  return rest === 0 ? first : `${first} ${rest}${noBreakSpace}${next![0]}`;
}

/** A duration as a sentence rounds it: `about 2 min`. */
export function roughDuration(ms: number): string {
  const seconds = ms / 1_000;
  if (seconds < 45) return `about ${Math.max(5, Math.round(seconds / 5) * 5)}${noBreakSpace}s`;
  if (seconds < 3_570) return `about ${Math.max(1, Math.round(seconds / 60))}${noBreakSpace}min`;
  if (seconds < 86_400 * 2) return `about ${Math.round(seconds / 3_600)}${noBreakSpace}h`;
  return `about ${Math.round(seconds / 86_400)} days`;
}

/** An interval that repeats: `5 s`, `1 min`, `200 ms`. */
export function interval(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)}${noBreakSpace}ms` : duration(ms).replace('.0', '');
}

/** `1 device`, `2 devices`. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${Math.round(value) === 1 ? one : many}`;
}

function decimal(value: number, { significant }: { significant: number }, locale = viewer.locale): string {
  const digits = Math.max(1, Math.floor(Math.log10(Math.abs(value) || 1)) + 1);
  const most = value >= 1 ? Math.max(0, significant - digits) : significant;
  return signed(
    formatted(
      value,
      locale,
      Math.abs(value) >= 1
        ? { minimumFractionDigits: significant === 2 ? most : 0, maximumFractionDigits: most }
        : { maximumSignificantDigits: significant },
    ),
  );
}

const threeDigits = { minimumSignificantDigits: 3, maximumSignificantDigits: 3 };
const twoDecimals = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
const formats = new Map<string, Intl.NumberFormat>();

/** A format is made once: `toLocaleString` makes one for each number, which a table with live values feels. */
function formatted(value: number, locale: string | undefined, options: Intl.NumberFormatOptions = {}): string {
  const { minimumFractionDigits, maximumFractionDigits, minimumSignificantDigits, maximumSignificantDigits } = options;
  const key = `${locale} ${minimumFractionDigits} ${maximumFractionDigits} ${minimumSignificantDigits} ${maximumSignificantDigits}`;
  let format = formats.get(key);
  if (format === undefined) formats.set(key, (format = new Intl.NumberFormat(locale, options)));
  return format.format(value);
}

function signed(text: string): string {
  return text.replace(/^-/, minus);
}
