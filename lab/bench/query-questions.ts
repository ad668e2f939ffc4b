import type { Goal } from './figure.ts';
import { deviceIdOf } from './workload.ts';
import type { History } from './history.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const metric = 'temperature';

export interface Question {
  readonly name: string;
  /** The same question to query-api, and as a statement by hand on the tables that have the answer. */
  readonly path: string;
  readonly sql: string;
  /** The same of an export in Parquet; undefined where DuckDB would read the whole file for a row. */
  readonly duckDbSql?: string;
  readonly requests: number;
  /** Of the median time, as a multiple of that of the statement behind a bare handler. */
  readonly ratio: Goal;
  /** Of the median time in ms. */
  readonly time?: Goal;
}

interface Place extends History {
  /** Position of the metric in the numbers of a reading; all readings of the bench have the same metrics. */
  readonly position: number;
  readonly metricKey: number;
}

/** The device sends each minute. */
const device = deviceIdOf(0);
const deviceKey = `(select device_key from devices where device_id = '${device}')`;

export function questionsOf({ to, position, metricKey }: Place): Question[] {
  const lastHour = Math.floor(to / hourMs) * hourMs;
  const midnight = Math.floor(to / dayMs) * dayMs;
  const time = (ms: number) => `'${new Date(ms).toISOString()}'::timestamptz`;
  const range = (from: number, until: number) => `ts >= ${time(from)} and ts < ${time(until)}`;
  const hours = (from: number, until: number) => `hour >= ${from / hourMs} and hour < ${until / hourMs}`;
  const value = `numbers[${position}]`;
  const inExport = (columns: string, from: number, until: number) =>
    `select ${columns} from readings where ${range(from, until)}`;
  const ofDevice = `and "deviceId" = '${device}'`;
  const series = (parameters: Record<string, string | number>) =>
    new URLSearchParams({ metrics: metric, ...mapStrings(parameters) }).toString();
  const instants = (from: number, until: number) => ({
    from: new Date(from).toISOString(),
    to: new Date(until).toISOString(),
  });
  const most = (bar: number, moonshot: number): Goal => ({ direction: 'at most', bar, moonshot });
  return [
    {
      name: 'latest of one device',
      path: `/devices/${device}/latest`,
      sql: `select d.device_id, l.ts, l.received_at, l.metrics from device_latest l join devices d using (device_key) where d.device_id = '${device}'`,
      requests: 300,
      ratio: most(2, 1.3),
    },
    {
      name: 'latest of 1,000 devices',
      path: '/data?limit=1000',
      sql: 'select d.device_id, l.ts, l.received_at, l.metrics from device_latest l join devices d using (device_key) order by d.device_id limit 1000',
      requests: 40,
      ratio: most(2, 1.3),
    },
    {
      name: '24 hours in buckets of 5 minutes',
      path: `/devices/${device}/series?${series({ agg: 'avg', interval: '5m', ...instants(lastHour - dayMs, lastHour) })}`,
      sql: `select date_bin('5 minutes', ts, ${time(0)}) as t, avg(${value}) from readings where device_key = ${deviceKey} and ${range(lastHour - dayMs, lastHour)} group by 1 order by 1`,
      duckDbSql: `${inExport(`time_bucket(interval '5 minutes', ts) as t, avg(${metric})`, lastHour - dayMs, lastHour)} ${ofDevice} group by 1 order by 1`,
      requests: 150,
      ratio: most(2, 1.3),
    },
    {
      name: '90 days hourly',
      path: `/devices/${device}/series?${series({ agg: 'avg', interval: '1h', ...instants(lastHour - 90 * dayMs, lastHour) })}`,
      sql: `select hour, sum / nullif(count, 0) as avg from rollup_1h where device_key = ${deviceKey} and metric_key = ${metricKey} and ${hours(lastHour - 90 * dayMs, lastHour)} order by hour`,
      duckDbSql: `${inExport(`time_bucket(interval '1 hour', ts) as t, avg(${metric})`, lastHour - 90 * dayMs, lastHour)} ${ofDevice} group by 1 order by 1`,
      requests: 60,
      ratio: most(2, 1.3),
      time: most(30, 10),
    },
    {
      name: '90 days m4 at 1,000 pixels',
      path: `/devices/${device}/series?${series({ agg: 'm4', maxPoints: 1_000, ...instants(lastHour - 90 * dayMs, lastHour) })}`,
      sql: `select hour / 3 as t, min(min), max(max), (array_agg(first order by hour))[1] as first, (array_agg(last order by hour desc))[1] as last from rollup_1h where device_key = ${deviceKey} and metric_key = ${metricKey} and ${hours(lastHour - 90 * dayMs, lastHour)} group by 1 order by 1`,
      duckDbSql: `${inExport(
        `time_bucket(interval '3 hours', ts) as t, ${['min', 'max'].map((of) => `${of}(${metric}), arg_${of}(ts, ${metric})`).join(', ')}, arg_min(${metric}, ts), min(ts), arg_max(${metric}, ts), max(ts)`,
        lastHour - 90 * dayMs,
        lastHour,
      )} ${ofDevice} group by 1 order by 1`,
      requests: 60,
      ratio: most(2, 1.3),
      time: most(30, 10),
    },
    {
      name: 'a page of 1,000 readings',
      path: `/devices/${device}/readings?limit=1000&order=desc&${new URLSearchParams(instants(lastHour - 90 * dayMs, to)).toString()}`,
      sql: `select s.epoch, r.seq, r.ts, r.received_at, r.numbers from readings r join streams s using (stream_key) where r.device_key = ${deviceKey} and r.${range(lastHour - 90 * dayMs, to)} order by r.ts desc limit 1000`,
      duckDbSql: `${inExport('*', lastHour - 90 * dayMs, to)} ${ofDevice} order by ts desc limit 1000`,
      requests: 60,
      ratio: most(2.5, 1.5),
    },
    {
      name: 'fleet average of a day by hour',
      path: `/series?${series({ pattern: '*', groupBy: 'none', agg: 'avg', interval: '1h', ...instants(lastHour - dayMs, lastHour) })}`,
      sql: `select date_bin('1 hour', ts, ${time(0)}) as t, avg(${value}) from readings where ${range(lastHour - dayMs, lastHour)} group by 1 order by 1`,
      duckDbSql: `${inExport(`time_bucket(interval '1 hour', ts) as t, avg(${metric})`, lastHour - dayMs, lastHour)} group by 1 order by 1`,
      requests: 30,
      ratio: most(1.5, 1.2),
      time: most(100, 30),
    },
    {
      name: 'top 10 of yesterday',
      path: `/top?${series({ agg: 'max', n: 10, pattern: '*', ...instants(midnight - dayMs, midnight) })}`,
      sql: `select d.device_id, max(${value}) from readings r join devices d using (device_key) where ${range(midnight - dayMs, midnight)} group by 1 order by 2 desc nulls last, 1 limit 10`,
      duckDbSql: `${inExport(`"deviceId", max(${metric})`, midnight - dayMs, midnight)} group by 1 order by 2 desc, 1 limit 10`,
      requests: 30,
      ratio: most(1.5, 1.2),
      time: most(100, 30),
    },
  ];
}

function mapStrings(parameters: Record<string, string | number>): Record<string, string> {
  return Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, String(value)]));
}
