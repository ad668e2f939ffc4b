/** The question of the page for other tools: exactly what is shown. */
export interface Question {
  readonly origin: string;
  readonly deviceId: string;
  readonly metrics: readonly string[];
  /** As typed: `now-3h`, or RFC 3339. */
  readonly from: string;
  readonly to: string;
  /** `20s` */
  readonly interval: string;
}

export type Tool = 'curl' | 'SQL' | 'Grafana' | 'pandas';

export const tools: readonly Tool[] = ['curl', 'SQL', 'Grafana', 'pandas'];

export function copyAs(tool: Tool, question: Question): string {
  switch (tool) {
    case 'curl':
      return `curl -s -H "Authorization: Bearer $TOKEN" \\\n  '${seriesUrl(question)}'`;
    case 'SQL':
      return sql(question);
    case 'Grafana':
      return `select $__timeGroupAlias(ts, '${words(question.interval)}'), metric, avg(value) as value, min(value), max(value)\nfrom api_v1.values\nwhere $__timeFilter(ts) and device_id = ${text(question.deviceId)} and metric in (${question.metrics.map(text).join(', ')})\ngroup by 1, 2 order by 1`;
    case 'pandas':
      return [
        'import os, pandas, urllib.request, json',
        `request = urllib.request.Request(${JSON.stringify(seriesUrl(question))}, headers={"Authorization": "Bearer " + os.environ["TOKEN"]})`,
        'answer = json.load(urllib.request.urlopen(request))',
        'frame = pandas.concat({s["metric"]: pandas.DataFrame({k: s[k] for k in ("avg", "min", "max")}, index=pandas.to_datetime(answer["t"], unit="ms", utc=True)) for s in answer["series"]}, axis=1)',
      ].join('\n');
  }
}

function seriesUrl({ origin, deviceId, metrics, from, to, interval }: Question): string {
  const query = new URLSearchParams();
  // A name with a comma is a parameter of its own.
  if (metrics.some((name) => name.includes(','))) for (const name of metrics) query.append('metric', name);
  else query.set('metrics', metrics.join(','));
  query.set('agg', 'avg,min,max');
  query.set('from', from);
  if (to !== 'now') query.set('to', to);
  query.set('interval', interval);
  return `${origin}/api/v1/devices/${encodeURIComponent(deviceId).replaceAll("'", '%27')}/series?${query.toString().replaceAll('%2C', ',')}`;
}

function sql({ deviceId, metrics, from, to, interval }: Question): string {
  return [
    `select date_bin('${words(interval)}', ts, timestamptz '2000-01-01') as step, metric, avg(value), min(value), max(value)`,
    'from api_v1.values',
    `where device_id = ${text(deviceId)} and metric in (${metrics.map(text).join(', ')}) and ts >= ${instant(from)} and ts < ${instant(to)}`,
    'group by step, metric order by step, metric;',
  ].join('\n');
}

const unitWords: Readonly<Record<string, string>> = { s: 'seconds', m: 'minutes', h: 'hours', d: 'days', w: 'weeks' };

/** `20s` as an interval of Postgres. */
function words(interval: string): string {
  const [, amount, unit] = /^(\d+)([smhdw])$/.exec(interval) ?? [];
  return amount === undefined ? interval : `${amount} ${unitWords[unit!]}`;
}

/** A time as typed, in SQL. */
function instant(typed: string): string {
  const parts = /^now(?:([+-])(\d+)([smhdw]))?(?:\/([smhdw]))?$/.exec(typed.trim());
  if (parts === null) return `timestamptz ${text(typed.trim())}`;
  const [, sign, amount, unit, floor] = parts;
  const moved = amount === undefined ? 'now()' : `now() ${sign} interval '${amount} ${unitWords[unit!]}'`;
  return floor === undefined ? moved : `date_trunc('${unitWords[floor]!.slice(0, -1)}', ${moved})`;
}

function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
