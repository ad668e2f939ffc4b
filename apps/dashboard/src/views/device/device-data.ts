import type { components } from '@fleetwire/client/openapi';
import { useMemo } from 'preact/hooks';
import { answerOf, api } from '../../api.ts';
import { serverNow } from '../../clock.ts';
import { type Resource, useResource } from '../../resource.ts';
import { isOperator } from '../../session.ts';
import type { LateReadings, TimeGap } from './bands.ts';
import { type Envelope, emptyRuns, intervalMs } from './buckets.ts';

const gapsShownMax = 6;
const lettersMax = 100;
const clockToleranceMs = 2_000;

/** History of the range: envelopes of metrics, and the states of those that are no numbers. */
export interface History {
  readonly envelope: Envelope;
  readonly states: Readonly<Record<string, readonly unknown[]>>;
  readonly statesT: readonly number[];
  readonly statesBucketMs: number;
  readonly askedAt: number;
  readonly completeUntil: number | undefined;
  readonly source: string;
}

/** What the device page asks besides the live stream. A deviceId change forgets it all. */
export function useDeviceData(
  deviceId: string,
  range: { readonly from: number; readonly to: number },
  isLive: boolean,
) {
  const path = { id: deviceId };
  const operator = isOperator();
  const about = deviceId;
  const device = useResource((signal) => answerOf(api.GET('/api/v1/devices/{id}', { params: { path }, signal })), {
    about,
    everyMs: 10_000,
  });
  // A device that has sent nothing has no latest state: 404.
  const known = device.state.value.data;
  const hasSent = known === undefined ? undefined : known.lastSeenAt !== null;
  const latest = useResource<components['schemas']['LatestState'] | undefined>(
    async (signal) =>
      hasSent === true ? answerOf(api.GET('/api/v1/devices/{id}/latest', { params: { path }, signal })) : undefined,
    { about, question: String(hasSent) },
  );
  const gaps = useResource(
    (signal) => answerOf(api.GET('/api/v1/devices/{id}/gaps', { params: { path, query: { limit: 100 } }, signal })),
    { about, everyMs: 5_000 },
  );
  const commands = useResource(
    (signal) => answerOf(api.GET('/api/v1/devices/{id}/commands', { params: { path, query: { limit: 100 } }, signal })),
    { about, everyMs: 30_000 },
  );
  // Rounded, so that a range that moves on each second is asked for when it has moved by a hundredth.
  const step = Math.max(1_000, (range.to - range.from) / 100);
  const rounded = `${Math.round(range.from / step)} ${Math.round(range.to / step)}`;
  const bounds = { from: new Date(range.from).toISOString(), to: new Date(range.to).toISOString() };
  const connections = useResource(
    (signal) =>
      answerOf(
        api.GET('/api/v1/devices/{id}/connections', { params: { path, query: { ...bounds, limit: 500 } }, signal }),
      ),
    { about, question: rounded, everyMs: isLive ? 15_000 : undefined },
  );
  const letters = useResource<{ readonly data: readonly components['schemas']['DeadLetter'][] }>(
    async (signal) =>
      operator
        ? answerOf(api.GET('/api/v1/dead-letters', { params: { query: { deviceId, limit: lettersMax } }, signal }))
        : { data: [] },
    { about, everyMs: 30_000 },
  );
  const instances = useResource<{ readonly data: readonly components['schemas']['Instance'][] }>(
    async (signal) => (operator ? answerOf(api.GET('/api/v1/instances', { signal })) : { data: [] }),
    { everyMs: 60_000 },
  );
  return { device, latest, gaps, commands, connections, instances, letters: operator ? letters : undefined };
}

export function useHistory(
  deviceId: string,
  metrics: readonly string[],
  states: readonly string[],
  range: { readonly from: number; readonly to: number },
  interval: string,
  isLive: boolean,
): Resource<History> {
  const spanMs = range.to - range.from;
  // While the range is live, its end is made of the stream; history is asked again now and then, so that it does not grow.
  const question = [
    metrics.join('\n'),
    states.join('\n'),
    interval,
    Math.round(spanMs / 1_000),
    isLive ? '' : range.from,
  ].join('\n\n');
  return useResource(
    (signal) =>
      readHistory(
        deviceId,
        metrics,
        states,
        isLive ? { from: serverNow() - spanMs, to: serverNow() } : range,
        interval,
        signal,
      ),
    {
      about: deviceId,
      question,
      everyMs: isLive ? 60_000 : undefined,
    },
  );
}

async function readHistory(
  deviceId: string,
  metrics: readonly string[],
  states: readonly string[],
  { from, to }: { readonly from: number; readonly to: number },
  interval: string,
  signal: AbortSignal,
): Promise<History> {
  const path = { id: deviceId };
  const bounds = { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
  const askedAt = serverNow();
  const [numbers, texts] = await Promise.all([
    metrics.length === 0
      ? undefined
      : answerOf(
          api.GET('/api/v1/devices/{id}/series', {
            params: {
              path,
              query: { ...namesOf(metrics), agg: ['avg', 'min', 'max'], ...bounds, interval, fill: 'null' },
            },
            signal,
          }),
        ),
    states.length === 0
      ? undefined
      : answerOf(
          api.GET('/api/v1/devices/{id}/series', {
            params: { path, query: { ...namesOf(states), agg: ['state'], ...bounds, maxPoints: 400, fill: 'null' } },
            signal,
          }),
        ),
  ]);
  const bucketMs = intervalMs(numbers?.interval ?? interval) ?? 60_000;
  const series = numbers?.series ?? [];
  const complete = (numbers ?? texts)?.covers.completeUntil;
  return {
    envelope: {
      t: numbers?.t ?? [],
      bucketMs,
      metrics: Object.fromEntries(
        series.map((one) => [
          one.metric,
          {
            avg: one['avg'] as (number | null)[],
            min: one['min'] as (number | null)[],
            max: one['max'] as (number | null)[],
          },
        ]),
      ),
    },
    states: Object.fromEntries((texts?.series ?? []).map((one) => [one.metric, one['state'] as unknown[]])),
    statesT: texts?.t ?? [],
    statesBucketMs: intervalMs(texts?.interval ?? null) ?? 60_000,
    askedAt,
    completeUntil: complete === null || complete === undefined ? undefined : Date.parse(complete),
    source: numbers?.covers.source ?? 'raw',
  };
}

/** A name with a comma is asked for with a parameter of its own. */
function namesOf(names: readonly string[]): { metrics: string[] } | { metric: string[] } {
  return names.some((name) => name.includes(',')) ? { metric: [...names] } : { metrics: [...names] };
}

/** The longest times without readings in the range, each with the numbers that are missing in it. */
export function useTimeGaps(deviceId: string, envelope: Envelope | undefined): readonly TimeGap[] {
  const runs = useMemo(() => (envelope === undefined ? [] : emptyRuns(envelope).slice(0, gapsShownMax)), [envelope]);
  const question = runs.map(({ from, to }) => `${from}-${to}`).join(' ');
  const resource = useResource((signal) => Promise.all(runs.map((run) => readTimeGap(deviceId, run, signal))), {
    about: deviceId,
    question,
  });
  const found = resource.state.value.data ?? [];
  return useMemo(() => found.toSorted((a, b) => a.from - b.from), [found]);
}

/** The numbers of the readings before and after it say how many are missing between them. */
async function readTimeGap(
  deviceId: string,
  run: { readonly from: number; readonly to: number },
  signal: AbortSignal,
): Promise<TimeGap> {
  const path = { id: deviceId };
  const read = async (query: { readonly from?: string; readonly to?: string; readonly order: 'asc' | 'desc' }) =>
    (
      await answerOf(
        api.GET('/api/v1/devices/{id}/readings', { params: { path, query: { ...query, limit: 1 } }, signal }),
      )
    ).data[0];
  const [before, after] = await Promise.all([
    read({ to: new Date(run.from).toISOString(), order: 'desc' }),
    read({ from: new Date(run.to).toISOString(), order: 'asc' }),
  ]);
  const isSameBoot = before !== undefined && before.epoch === after?.epoch;
  return {
    from: before === undefined ? run.from : Date.parse(before.ts),
    to: after === undefined ? run.to : Date.parse(after.ts),
    missing: isSameBoot ? Math.max(0, after.seq - before.seq - 1) : 0,
    epoch: isSameBoot ? before.epoch : undefined,
    firstSeq: isSameBoot ? before.seq + 1 : undefined,
  };
}

/** How many readings of each time without a connection are stored all the same: they came later. */
export function useLateReadings(
  deviceId: string,
  metric: string | undefined,
  times: readonly { readonly from: number; readonly to: number }[],
): readonly LateReadings[] {
  const asked = metric === undefined ? [] : times;
  const resource = useResource(
    (signal) => Promise.all(asked.map((time) => readLate(deviceId, metric!, time, signal))),
    { about: deviceId, question: `${metric} ${asked.map(({ from, to }) => `${from}-${to}`).join(' ')}` },
  );
  const found = resource.state.value.data ?? [];
  return useMemo(() => found.filter(({ readings }) => readings > 0), [found]);
}

async function readLate(
  deviceId: string,
  metric: string,
  { from, to }: { readonly from: number; readonly to: number },
  signal: AbortSignal,
): Promise<LateReadings> {
  // The clock of the device is not that of the edge: what lies at the ends may have been sent on time.
  const [start, end] = [from + clockToleranceMs, to - clockToleranceMs];
  if (end <= start) return { from, to, readings: 0 };
  const { series = [] } = await answerOf(
    api.GET('/api/v1/devices/{id}/series', {
      params: {
        path: { id: deviceId },
        query: {
          ...namesOf([metric]),
          agg: ['count'],
          from: new Date(start).toISOString(),
          to: new Date(end).toISOString(),
          maxPoints: 10,
        },
      },
      signal,
    }),
  );
  const counts = (series[0]?.['count'] ?? []) as (number | null)[];
  return { from, to, readings: counts.reduce<number>((sum, one) => sum + (one ?? 0), 0) };
}
