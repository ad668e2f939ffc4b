import { noBreakSpace, plural } from '../../format.ts';

/** The parameters of `GET /api/v1/series` that a question has: the address of the page has the same, so that a link is the question. */
export const questionNames = [
  'devices',
  'pattern',
  'tag',
  'type',
  'metrics',
  'agg',
  'where',
  'groupBy',
  'interval',
  'maxPoints',
  'from',
  'to',
  'tz',
  'offset',
] as const;
export type QuestionName = (typeof questionNames)[number];
export type Question = Readonly<Partial<Record<QuestionName, string>>>;

/** Buckets of a question without an interval: about one for each three pixels of a wide chart. */
const bucketsOfChart = '300';

/** The question of an address; what it leaves out has the usual value. Undefined where it names no metric. */
export function questionOf(query: Readonly<Record<string, string>>, timeZone: string): Question | undefined {
  if (query['metrics'] === undefined) return undefined;
  return completed(pick(query), timeZone);
}

/** The question that the page begins with. @param devices how many there are: few are told apart */
export function firstQuestion(metric: string, devices: number, timeZone: string): Question {
  return completed({ metrics: metric, groupBy: devices <= 8 ? 'device' : 'none' }, timeZone);
}

function completed(question: Question, timeZone: string): Question {
  const { devices, pattern, tag, type, interval, maxPoints } = question;
  return {
    ...question,
    ...([devices, pattern, tag, type].every((one) => one === undefined) && { pattern: '*' }),
    agg: question.agg ?? 'avg',
    groupBy: question.groupBy ?? 'device',
    ...(interval === undefined && maxPoints === undefined && { maxPoints: bucketsOfChart }),
    from: question.from ?? 'now-24h',
    to: question.to ?? 'now',
    tz: question.tz ?? timeZone,
  };
}

/** Changes some of it; undefined or an empty text removes one. One of interval and maxPoints remains, and a selection. */
export function changed(
  question: Question,
  changes: Readonly<Partial<Record<QuestionName, string | undefined>>>,
): Question {
  const next: Record<string, string | undefined> = { ...question, ...changes };
  if (changes.interval !== undefined) delete next['maxPoints'];
  if ('interval' in changes && (changes.interval ?? '') === '') next['maxPoints'] ??= bucketsOfChart;
  for (const [name, value] of Object.entries(next)) if (value === undefined || value === '') delete next[name];
  if (['devices', 'pattern', 'tag', 'type'].every((name) => next[name] === undefined)) next['pattern'] = '*';
  // Which are all devices, beside a tag or a type, selects nothing.
  else if (next['pattern'] === '*' && (next['tag'] ?? next['type'] ?? next['devices']) !== undefined)
    delete next['pattern'];
  return next;
}

/** As a query string, in a fixed order: of the page and of the API. */
export function searchOf(question: Question, more: Readonly<Record<string, string>> = {}): string {
  const search = new URLSearchParams();
  for (const name of questionNames) if (question[name] !== undefined) search.set(name, question[name]);
  for (const [name, value] of Object.entries(more)) search.set(name, value);
  return search.toString();
}

/** Where its export comes from: its stored readings, or the table of its answer. @param answered the range of the answer, so that the file has the numbers of the page */
export function exportUrl(
  question: Question,
  answered: { readonly from: string; readonly to: string } | undefined,
  what: 'readings' | 'table',
  format: string,
): string {
  const range = answered === undefined ? {} : { from: answered.from, to: answered.to };
  const { devices, pattern, tag, type, metrics, from, to } = question;
  const selection = { devices, pattern, tag, type, metrics, from, to } as Question;
  return what === 'table'
    ? `/api/v1/series?${searchOf({ ...question, ...range }, { format })}`
    : `/api/v1/readings?${searchOf({ ...selection, ...range }, { format })}`;
}

/** What a job exports: the stored readings behind an answer. @param answered as of {@link exportUrl} */
export function exportRequest(
  question: Question,
  answered: { readonly from: string; readonly to: string } | undefined,
  format: 'csv' | 'ndjson' | 'parquet' | 'arrow',
) {
  const { devices, pattern, tag, type, metrics } = question;
  const { from = 'now-24h', to = 'now' } = answered ?? question;
  return {
    ...(devices !== undefined && { devices: listOf(devices) }),
    ...(pattern !== undefined && { pattern }),
    ...(tag !== undefined && { tag }),
    ...(type !== undefined && { type }),
    ...(metrics !== undefined && { metrics: listOf(metrics) }),
    from,
    to,
    format,
  };
}

/** The question of an address of the API, as `nearest.href` has it. */
export function questionOfHref(href: string): Question {
  const { pathname, searchParams } = new URL(href, 'http://localhost');
  const device = /^\/api\/v1\/devices\/([^/]+)\/series$/.exec(pathname)?.[1];
  const question = pick(Object.fromEntries(searchParams));
  return device === undefined ? question : { ...question, devices: decodeURIComponent(device) };
}

function pick(values: Readonly<Record<string, string>>): Question {
  return Object.fromEntries(questionNames.flatMap((name) => (values[name] ? [[name, values[name]]] : [])));
}

export const listOf = (text: string | undefined): string[] => (text ?? '').split(',').filter(Boolean);

/** The devices in words: `49 devices`, `devices press-*`, `press-7`. @param answered how many the answer is about */
export function devicesText({ devices, pattern, tag, type }: Question, answered: number | undefined): string {
  const named = listOf(devices);
  if (named.length === 1) return named[0]!;
  if (named.length > 1) return plural(named.length, 'device');
  if (pattern !== undefined && pattern !== '*') return pattern;
  if (answered !== undefined)
    return tag === undefined && type === undefined ? `all ${plural(answered, 'device')}` : plural(answered, 'device');
  return 'all devices';
}

/** `5m` as `5 min`; `1mo` as `1 month`. */
export function lengthText(length: string): string {
  const parts = /^(\d+)(s|m|h|d|w|mo|y)$/.exec(length);
  if (parts === null) return length;
  const [, amount, unit] = parts;
  const words: Record<string, string> = { s: 's', m: 'min', h: 'h', d: 'd' };
  const long: Record<string, string> = { w: 'week', mo: 'month', y: 'year' };
  if (words[unit!] !== undefined) return `${amount}${noBreakSpace}${words[unit!]}`;
  return plural(Number(amount), long[unit!]!);
}

/** `device`, `type`, `firmware` for `tag:firmware`. */
export function groupText(groupBy: string | undefined): string {
  if (groupBy === undefined || groupBy === 'device') return 'device';
  if (groupBy === 'none') return 'nothing (one line)';
  return groupBy.startsWith('tag:') ? groupBy.slice(4) : groupBy;
}

/** `depot = lyon-est` for the tag `depot:lyon-est`. */
export function tagText(tag: string): string {
  const at = tag.indexOf(':');
  return at < 0 ? tag : `${tag.slice(0, at)} = ${tag.slice(at + 1)}`;
}
