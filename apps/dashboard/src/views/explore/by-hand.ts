import { type Question, listOf, questionNames } from './question.ts';

/** The same question for other tools: what the page shows, to be asked without it. */
export const byHand = {
  curl: (question: Question) => {
    const parts = questionNames.flatMap((name) => (question[name] === undefined ? [] : [`${name}=${question[name]}`]));
    return [
      'curl -sSfG "$FLEETWIRE/api/v1/series"',
      '-H "Authorization: Bearer $TOKEN"',
      ...parts.map((part) => (/^[\w.=:,-]+$/.test(part) ? `-d ${part}` : `--data-urlencode ${shellText(part)}`)),
    ].join(' \\\n  ');
  },
  SQL: sqlOf,
  pandas: (question: Question) => {
    const parts = questionNames.flatMap((name) =>
      question[name] === undefined ? [] : [`    ${pythonText(name)}: ${pythonText(question[name])},`],
    );
    return [
      'import io, os, pandas, requests',
      'answer = requests.get(os.environ["FLEETWIRE"] + "/api/v1/series", params={',
      ...parts,
      '    "format": "csv",',
      '}, headers={"Authorization": "Bearer " + os.environ["TOKEN"]})',
      'answer.raise_for_status()',
      'frame = pandas.read_csv(io.BytesIO(answer.content))',
    ].join('\n');
  },
} as const;

export type Tool = keyof typeof byHand;

const sqlUnits: Readonly<Record<string, string>> = {
  s: 'seconds',
  m: 'minutes',
  h: 'hours',
  d: 'days',
  w: 'weeks',
  mo: 'months',
  y: 'years',
};

/** In SQL over `api_v1.values`; what SQL has no word for is said in a comment. */
function sqlOf(question: Question): string {
  const { interval, tz = 'UTC', offset, where, groupBy = 'device', tag, type, pattern } = question;
  const metrics = listOf(question.metrics);
  const notes: string[] = [];
  const group =
    groupBy === 'none'
      ? undefined
      : groupBy === 'device'
        ? 'v.device_id'
        : groupBy === 'type'
          ? 'd.type'
          : `substr(t, ${groupBy.length - 2})`;
  const aggregates = listOf(question.agg).map((name) => {
    const text = aggregateSql(name);
    if (text === undefined) notes.push(`-- ${name} has no short form in SQL: ask the API`);
    return text;
  });
  const bucket = bucketSql(interval, tz);
  if (bucket === undefined) notes.push('-- the interval is chosen by the API: here are buckets of 5 minutes');
  if (offset !== undefined) notes.push(`-- for the comparison ask again with a range ${offset} before`);
  if (where !== undefined) notes.push(`-- only readings with ${where}: join api_v1.readings and compare metrics`);
  const columns = [
    `${bucket ?? "date_bin('5 minutes', v.ts, timestamptz '2000-01-01')"} as bucket`,
    ...(group === undefined ? [] : [`${group} as ${groupBy === 'device' ? 'device' : 'grp'}`]),
    ...(metrics.length > 1 ? ['v.metric'] : []),
    ...aggregates.filter((text) => text !== undefined),
  ];
  const keys = 1 + (group === undefined ? 0 : 1) + (metrics.length > 1 ? 1 : 0);
  const places = Array.from({ length: keys }, (_, index) => index + 1).join(', ');
  const needsDevices = tag !== undefined || type !== undefined || groupBy === 'type' || groupBy.startsWith('tag:');
  const devices = listOf(question.devices);
  const conditions = [
    metrics.length === 1 ? `v.metric = ${sqlText(metrics[0]!)}` : `v.metric in (${metrics.map(sqlText).join(', ')})`,
    `v.ts >= ${timeSql(question.from ?? 'now-24h')} and v.ts < ${timeSql(question.to ?? 'now')}`,
    ...(devices.length > 0 ? [`v.device_id in (${devices.map(sqlText).join(', ')})`] : []),
    ...(pattern !== undefined && pattern !== '*' ? [`v.device_id like ${sqlText(likeOf(pattern))}`] : []),
    ...(tag === undefined ? [] : [`d.tags @> array[${sqlText(tag)}]`]),
    ...(type === undefined ? [] : [`d.type = ${sqlText(type)}`]),
  ];
  return [
    // A line break in what an address says would end the comment.
    ...notes.map((note) => note.replaceAll(/\s+/g, ' ')),
    `select ${columns.join(',\n  ')}`,
    `from api_v1.values v${needsDevices ? ' join api_v1.devices d using (device_id)' : ''}${
      groupBy.startsWith('tag:')
        ? `\n  join lateral unnest(d.tags) t on t like ${sqlText(`${groupBy.slice(4)}:%`)}`
        : ''
    }`,
    `where ${conditions.join('\n  and ')}`,
    `group by ${places} order by ${places};`,
  ].join('\n');
}

function aggregateSql(name: string): string | undefined {
  if (['avg', 'min', 'max', 'sum', 'stddev'].includes(name)) return `${name}(v.value)`;
  if (name === 'count') return 'count(*)';
  const percent = /^p(\d{1,2}(?:\.\d+)?)$/.exec(name)?.[1];
  return percent === undefined
    ? undefined
    : `percentile_cont(${Number((Number(percent) / 100).toFixed(6))}) within group (order by v.value) as ${name.replace('.', '_')}`;
}

function bucketSql(interval: string | undefined, tz: string): string | undefined {
  const parts = /^(\d+)(s|m|h|d|w|mo|y)$/.exec(interval ?? '');
  if (parts === null) return undefined;
  const [, amount, unit] = parts;
  if (unit === 's' || unit === 'm' || unit === 'h')
    return `date_bin('${amount} ${sqlUnits[unit]}', v.ts, timestamptz '2000-01-01')`;
  return `date_trunc('${sqlUnits[unit!]!.slice(0, -1)}', v.ts, ${sqlText(tz)})`;
}

function timeSql(text: string): string {
  const parts = /^now(?:([+-])(\d+)([smhdw]))?(?:\/([smhdw]))?$/.exec(text.trim());
  if (parts === null)
    return `timestamptz ${sqlText(/^\d{13}$/.test(text) ? new Date(Number(text)).toISOString() : text)}`;
  const [, sign, amount, unit, floor] = parts;
  const moved = sign === undefined ? 'now()' : `now() ${sign} interval '${amount} ${sqlUnits[unit!]}'`;
  return floor === undefined ? moved : `date_trunc('${sqlUnits[floor]!.slice(0, -1)}', ${moved})`;
}

function likeOf(pattern: string): string {
  return pattern
    .replaceAll(/[\\%_]/g, String.raw`\$&`)
    .replaceAll('*', '%')
    .replaceAll('?', '_');
}

const sqlText = (text: string) => `'${text.replaceAll("'", "''")}'`;
const shellText = (text: string) => `'${text.replaceAll("'", String.raw`'\''`)}'`;
const pythonText = (text: string) => JSON.stringify(text);
