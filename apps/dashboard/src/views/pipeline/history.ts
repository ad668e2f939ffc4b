import type { components } from '@fleetwire/client/openapi';
import type { ChartData, ChartEvent } from '../../chart/chart-model.ts';
import { hourAndMinute } from '../../times.ts';
import { alarmName } from './sentences.ts';

type Alarm = components['schemas']['Alarm'];
type Instance = components['schemas']['Instance'];
type Point = components['schemas']['QueueHistory']['data'][number]['points'][number];

export interface QueueCharts {
  readonly depth: ChartData;
  readonly rates: ChartData;
  /** Messages where no worker has said how many readings they hold. */
  readonly unit: 'readings' | 'messages';
  /** When the oldest reading was the oldest. */
  readonly peak: { readonly at: number; readonly seconds: number } | undefined;
  readonly deepest: { readonly at: number; readonly value: number } | undefined;
}

/**
 * Depth and rates of a queue over time. Rates are in readings by the size that messages had then; while the queue was empty, by the size
 * before. Intervals without a sample are gaps.
 */
export function queueCharts(points: readonly Point[], bucketMs: number): QueueCharts {
  const sizes = points.map((point) => {
    const messages = point.ready + (point.unacked ?? 0);
    return messages > 0 && point.readingsEstimate !== null && point.readingsEstimate > 0
      ? point.readingsEstimate / messages
      : undefined;
  });
  const unit = sizes.some((size) => size !== undefined) ? 'readings' : 'messages';
  let size = sizes.find((one) => one !== undefined) ?? 1;
  const [t, depth, entering, leaving]: [number[], (number | null)[], (number | null)[], (number | null)[]] = [
    [],
    [],
    [],
    [],
  ];
  for (const [index, point] of points.entries()) {
    const at = Date.parse(point.at);
    const last = t.at(-1);
    if (last !== undefined && at - last > bucketMs * 1.5) {
      t.push(last + bucketMs);
      for (const values of [depth, entering, leaving]) values.push(null);
    }
    size = sizes[index] ?? size;
    const messages = point.ready + (point.unacked ?? 0);
    t.push(at);
    depth.push(unit === 'messages' ? messages : (point.readingsEstimate ?? messages * size));
    entering.push(point.in === null ? null : point.in * (unit === 'messages' ? 1 : size));
    leaving.push(point.out === null ? null : point.out * (unit === 'messages' ? 1 : size));
  }
  const series = (id: string, label: string, slot: number, values: readonly (number | null)[], of: string) => ({
    id,
    label,
    slot,
    values,
    unit: of,
  });
  const oldest = points.reduce<Point | undefined>(
    (most, one) => ((one.oldestSeconds ?? 0) > (most?.oldestSeconds ?? 0) ? one : most),
    undefined,
  );
  const most = Math.max(0, ...depth.map((value) => value ?? 0));
  return {
    depth: { t, bucketMs, series: [{ ...series('depth', 'queued', 2, depth, unit), fillTo: 0 }] },
    rates: {
      t,
      bucketMs,
      series: [
        series('out', 'stored', 0, leaving, `${unit}/s`),
        // Between both lines: what the queue gains or loses.
        { ...series('in', 'in', 1, entering, `${unit}/s`), fillTo: 'out' },
      ],
    },
    unit,
    peak: oldest === undefined ? undefined : { at: Date.parse(oldest.at), seconds: oldest.oldestSeconds ?? 0 },
    deepest: most === 0 ? undefined : { at: t[depth.indexOf(most)]!, value: most },
  };
}

/** Instances that start together are an installation that starts. */
const togetherMs = 60_000;

/** What explains the depth of the queue: alarms, instances that have stopped, and those that have joined others. */
export function eventsOfQueue(instances: readonly Instance[], alarms: readonly Alarm[]): ChartEvent[] {
  const event = (time: string, text: string, isNamed = true): ChartEvent => ({
    at: Date.parse(time),
    text,
    label: isNamed ? `${text} ${hourAndMinute(Date.parse(time))}` : '',
  });
  const joins = ({ service, startedAt }: Instance) =>
    instances.some((one) => one.service === service && Date.parse(startedAt) - Date.parse(one.startedAt) > togetherMs);
  return [
    ...alarms.flatMap(({ name, state, since, until }) => [
      ...(state === 'pending' || since === null ? [] : [event(since, alarmName(name))]),
      ...(until === null ? [] : [event(until, `${alarmName(name)}: ended`, false)]),
    ]),
    ...instances.flatMap((one) => [
      ...(joins(one) ? [event(one.startedAt, `${one.name} starts`)] : []),
      ...(one.state === 'stopped' ? [event(one.lastSeenAt, `${one.name} stops`)] : []),
    ]),
  ];
}
