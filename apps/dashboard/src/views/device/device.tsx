import '../../styles/device.css';
import { useSignal } from '@preact/signals';
import { useRoute } from 'preact-iso';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { failureOf } from '../../api.ts';
import { Problem } from '../../area.tsx';
import { chartCsv } from '../../chart/chart-model.ts';
import { now, serverNow } from '../../clock.ts';
import { download } from '../../download.ts';
import { Dialog } from '../../dialog.tsx';
import { duration, plural, rate } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import { completeUntil as storedUntil } from '../../installation.ts';
import { limitOf, limitedMetrics, timeZoneOf, unitOf } from '../../metadata.ts';
import { query, setQuery } from '../../query.ts';
import { hasRole, isOperator } from '../../session.ts';
import { deviceZone, moment } from '../../times.ts';
import { EditDevice, TokenDialog, mintToken } from '../fleet/device-dialogs.tsx';
import { bootBand, edgeName, gapBand, letterBand, offlineTimes, presenceBand, stateBand } from './bands.ts';
import { type Envelope, chooseInterval, cutOf, joinLive } from './buckets.ts';
import { DeviceCharts, chartGroups } from './device-charts.tsx';
import { useDeviceData, useHistory, useLateReadings, useTimeGaps } from './device-data.ts';
import { useDeviceRange } from './device-range.ts';
import { dropBefore, type LatestValue } from './held-readings.ts';
import { useLiveReadings } from './live-readings.ts';
import { Commands, Delivery, Latest } from './rail.tsx';
import { RangeBar } from './range-bar.tsx';
import { deviceSentence, newestEpisode } from './sentences.ts';
import { Tabs } from './tabs.tsx';

/** Buckets of about two pixels. */
const bucketsMax = 520;
const metricsMax = 8;
const statesMax = 8;
/** The rate of a device is that of the last minute. */
const rateMs = 60_000;

/** What does this device say, and did all of it arrive? */
export default function Device(_: { readonly path: string }) {
  const { params } = useRoute();
  const deviceId = params['id'] ?? '';
  return <DevicePage key={deviceId} deviceId={deviceId} />;
}

function DevicePage({ deviceId }: { readonly deviceId: string }) {
  const field = useRef<HTMLInputElement>(null);
  const range = useDeviceRange(() => field.current?.select());
  const { from, to } = range.range;
  const feeds = useDeviceData(deviceId, range.range, range.isLive);
  const interval = chooseInterval(
    to - from,
    matchMedia('(max-width: 640px)').matches ? bucketsMax / 3 : bucketsMax,
    2 * (feeds.device.state.value.data?.expectedIntervalMs ?? 0),
  );
  const { live, version } = useLiveReadings(deviceId, 2 * interval.ms + 90_000);
  const cursor = useSignal<number | undefined>(undefined);
  const [dialog, setDialog] = useState<'edit' | 'token'>();

  const device = feeds.device.state.value.data;
  const metadata = device?.metadata;
  useEffect(() => {
    deviceZone.value = timeZoneOf(metadata);
    return () => (deviceZone.value = undefined);
  }, [metadata]);
  const latest = useLatest(feeds.latest.state.value.data, live.latest, version);
  const numeric = [...latest]
    .filter(([, { value }]) => typeof value === 'number')
    .map(([name]) => name)
    .toSorted();
  const asked = query.value['metrics'];
  const metrics = useMemo(
    () =>
      (asked === undefined ? firstMetrics(numeric, metadata) : asked.split(',').filter(Boolean)).slice(0, metricsMax),
    [asked, numeric.join('\n'), metadata === undefined],
  );
  const stateNames = useMemo(
    () =>
      [...latest]
        .filter(([, { value }]) => typeof value === 'string' || typeof value === 'boolean')
        .map(([name]) => name)
        .toSorted()
        .slice(0, statesMax),
    [[...latest.keys()].join('\n')],
  );
  const history = useHistory(
    deviceId,
    metrics,
    stateNames,
    range.range,
    interval.text,
    range.isLive && !range.isPaused,
  );
  const held = history.state.value.data;

  useEffect(() => {
    if (live.commandChanges > 0) feeds.commands.refresh();
  }, [live.commandChanges]);

  const envelope = useMemo<Envelope | undefined>(() => {
    if (held === undefined || !range.isLive) return held?.envelope;
    const cutAt = cutOf(held.askedAt, held.completeUntil, live.from, held.envelope.bucketMs);
    return joinLive(held.envelope, live.readings, cutAt, to);
  }, [held, version, range.isLive, Math.floor(to / 1_000)]);
  useEffect(() => {
    if (held === undefined) return;
    const cutAt = cutOf(held.askedAt, held.completeUntil, live.from, held.envelope.bucketMs);
    dropBefore(live, Math.min(cutAt, serverNow() - rateMs));
  }, [live, held]);
  const groups = useMemo(
    () => (envelope === undefined ? [] : chartGroups(envelope, metrics, metadata)),
    [envelope, metrics.join('\n'), metadata],
  );

  const connections = feeds.connections.state.value.data?.data ?? [];
  const gaps = useTimeGaps(deviceId, held?.envelope);
  const names = new Map(feeds.instances.state.value.data?.data.map(({ instanceId, name }) => [instanceId, name]));
  const nameOf = (edge: string) => names.get(edge) ?? edgeName(edge);
  const presence = presenceBand(connections, from, to, nameOf);
  const late = useLateReadings(deviceId, metrics[0], offlineTimes(presence, to));
  const letters = (feeds.letters?.state.value.data?.data ?? []).filter((one) => one.status === 'open');
  const bands = [
    presence,
    ...stateNames.flatMap((name) =>
      held?.states[name] === undefined
        ? []
        : [
            stateBand(
              name,
              held.statesT,
              held.states[name] as Parameters<typeof stateBand>[2],
              held.statesBucketMs,
              range.range,
              range.isLive ? latest.get(name) : undefined,
            ),
          ],
    ),
    bootBand(connections, from, to),
    gapBand(gaps, late),
    ...(letters.length === 0
      ? []
      : [
          letterBand(
            letters.map(({ firstFailedAt }) => Date.parse(firstFailedAt)),
            interval.ms,
          ),
        ]),
  ];
  const holes = gaps
    .filter(({ missing }) => missing > 0)
    .map(({ from: start, to: end, missing }) => ({ from: start, to: end, label: `${missing} readings missing` }));

  const first = groups[0]?.data.series[0];
  const newest = first === undefined ? undefined : latest.get(first.id);
  const sentence = deviceSentence({
    deviceId,
    name: device?.name,
    presence: device?.presence,
    expectedIntervalMs: device?.expectedIntervalMs,
    now: now.value,
    lastSeenAt:
      device?.lastSeenAt === null || device?.lastSeenAt === undefined ? undefined : Date.parse(device.lastSeenAt),
    value: first === undefined || newest === undefined ? undefined : { value: newest.value, unit: first.unit },
    episode:
      first === undefined
        ? undefined
        : newestEpisode(
            groups[0]!.data.t,
            first.values,
            groups[0]!.data.bucketMs ?? 0,
            limitOf(metadata, first.id),
            first.unit,
          ),
  });
  const twin = {
    t: envelope?.t ?? [],
    bucketMs: envelope?.bucketMs,
    series: groups.flatMap(({ data }) => data.series),
  };
  const epoch = newestEpoch(device?.epochs);
  const question = {
    origin: location.origin,
    deviceId,
    metrics,
    from: range.typed.from,
    to: range.typed.to,
    interval: interval.text,
  };

  const failure = feeds.device.state.value.failure;
  if (device === undefined && failure !== undefined) {
    return (
      <section class="say dev">
        <div>
          <Crumb deviceId={deviceId} />
          <h1>{failure.status === 404 ? `There is no device ${deviceId}.` : `${deviceId} cannot be shown.`}</h1>
          <Problem failure={failure} onRetry={() => feeds.device.refresh()} />
        </div>
      </section>
    );
  }
  return (
    <>
      <section class="say dev">
        <div>
          <Crumb deviceId={deviceId} />
          <h1 aria-live="polite">
            <StateIcon status={device?.presence?.status} /> {device === undefined ? deviceId : sentence.text}
          </h1>
          <p class="tags no-phone">
            {(device?.tags ?? []).map((tag) => (
              <a key={tag} class="tag" href={`/?tag=${encodeURIComponent(tag)}`}>
                {tag}
              </a>
            ))}{' '}
            <Facts device={device} connections={connections} nameOf={nameOf} readings={live.readings} />
          </p>
        </div>
        <span class="grow" />
        <div class="acts no-phone">
          {isOperator() && (
            <button type="button" class="btn" onClick={() => document.getElementById('command')?.focus()}>
              Send command
            </button>
          )}
          {hasRole('admin') && (
            <button type="button" class="btn" onClick={() => setDialog('token')}>
              Mint token
            </button>
          )}
          {isOperator() && device !== undefined && (
            <button type="button" class="btn" onClick={() => setDialog('edit')}>
              Edit
            </button>
          )}
        </div>
      </section>
      <RangeBar
        range={range}
        field={field}
        question={question}
        newReadings={range.pausedAt === undefined ? 0 : live.readings.filter(({ at }) => at > range.pausedAt!).length}
        onCsv={() => download(`${deviceId}.csv`, 'text/csv', chartCsv(twin))}
      />
      <div class="cols" id="devcols">
        <section>
          {history.state.value.failure !== undefined && (
            <HistoryProblem
              resource={history}
              onInterval={(href) =>
                setQuery(
                  Object.fromEntries(
                    [...new URL(href, location.origin).searchParams].filter(
                      ([name]) => name === 'from' || name === 'to',
                    ),
                  ),
                )
              }
            />
          )}
          {live.problem !== undefined && (
            <p class="warn" role="status">
              <Icon name="warn" /> Live readings: {live.problem}
            </p>
          )}
          {history.state.value.loadingSince !== undefined &&
            metrics.some((metric) => envelope?.metrics[metric] === undefined) && (
              <p class="dim" role="status">
                Loading {duration(to - from)} of {plural(metrics.length, 'metric')}…
              </p>
            )}
          <DeviceCharts
            deviceId={deviceId}
            groups={groups}
            bands={bands}
            holes={holes}
            range={range}
            cursor={cursor}
            completeUntil={storedUntil.value ?? held?.completeUntil}
            available={numeric}
            source={held?.source}
            metrics={metrics}
            onMetrics={(next) => setQuery({ metrics: next.join(',') })}
            onTwin={() => {
              setQuery({ tab: 'table' });
              document.getElementById('tab-table')?.focus();
            }}
          />
          <Tabs
            deviceId={deviceId}
            feeds={feeds}
            readings={live.readings}
            completeUntil={storedUntil.value ?? held?.completeUntil}
            twin={twin}
            cursor={cursor}
            metadata={metadata}
            metrics={metrics}
            nameOf={nameOf}
            range={range.range}
          />
        </section>
        <section class="rail">
          <Latest latest={latest} metrics={metrics} metadata={metadata} />
          <Delivery
            gaps={feeds.gaps}
            epoch={epoch?.epoch}
            sentSeq={epoch === undefined ? undefined : live.lastSeq.get(epoch.epoch)}
            firstSeenAt={epoch?.firstSeenAt}
            completeUntil={storedUntil.value ?? held?.completeUntil}
          />
          <Commands deviceId={deviceId} commands={feeds.commands} onAll={() => setQuery({ tab: 'commands' })} />
        </section>
      </div>
      {dialog === 'edit' && device !== undefined && (
        <EditDevice device={device} onSaved={() => feeds.device.refresh()} onClose={() => setDialog(undefined)} />
      )}
      {dialog === 'token' && <MintToken deviceId={deviceId} onClose={() => setDialog(undefined)} />}
    </>
  );
}

function Crumb({ deviceId }: { readonly deviceId: string }) {
  return (
    <p class="crumb">
      <a class="link" href="/">
        Fleet
      </a>{' '}
      / <span class="id">{deviceId}</span>
    </p>
  );
}

function StateIcon({ status }: { readonly status: 'online' | 'stale' | 'offline' | undefined }) {
  if (status === 'online') return <Icon name="on" tone="wirec" />;
  if (status === 'stale') return <Icon name="stale" tone="warn" />;
  return <Icon name={status === 'offline' ? 'off' : 'never'} tone="dim3" />;
}

/** `online since 14:11:26 on ingest-1 · 1 reading/s` */
function Facts({
  device,
  connections,
  nameOf,
  readings,
}: {
  readonly device: { readonly presence?: { readonly status: string; readonly since: string } | null } | undefined;
  readonly connections: readonly { readonly endedAt: string | null; readonly edge: string }[];
  readonly nameOf: (edge: string) => string;
  readonly readings: readonly { readonly at: number; readonly receivedAt?: string }[];
}) {
  const open = connections.find(({ endedAt }) => endedAt === null);
  const minute = readings.filter(({ at }) => at > serverNow() - rateMs);
  const newest = readings.at(-1);
  const clockMs = newest?.receivedAt === undefined ? undefined : newest.at - Date.parse(newest.receivedAt);
  const facts = [
    device?.presence === null || device?.presence === undefined
      ? ''
      : `${device.presence.status} since ${moment(device.presence.since, now.value)}${open === undefined ? '' : ` on ${nameOf(open.edge)}`}`,
    clockMs === undefined || Math.abs(clockMs) < 1_000
      ? ''
      : `clock ${clockMs > 0 ? '+' : '−'}${Math.abs(clockMs / 1_000).toFixed(1)} s`,
    minute.length < 2 ? '' : `${rate(minute.length / (rateMs / 1_000))} readings/s`,
  ];
  return <span class="dim">{facts.filter(Boolean).join(' · ')}</span>;
}

function HistoryProblem({
  resource,
  onInterval,
}: {
  readonly resource: ReturnType<typeof useHistory>;
  readonly onInterval: (href: string) => void;
}) {
  const failure = resource.state.value.failure!;
  const nearest = (failure.problem as { nearest?: { href: string } } | undefined)?.nearest;
  return (
    <>
      <Problem failure={failure} affects="History is unavailable; live goes on." onRetry={() => resource.refresh()} />
      {nearest !== undefined && (
        <button type="button" class="btn sm" onClick={() => onInterval(nearest.href)}>
          Ask the nearest range that is allowed
        </button>
      )}
    </>
  );
}

function MintToken({ deviceId, onClose }: { readonly deviceId: string; readonly onClose: () => void }) {
  const [token, setToken] = useState<Awaited<ReturnType<typeof mintToken>>>();
  const [problem, setProblem] = useState<ReturnType<typeof failureOf>>();
  function mint(): void {
    setProblem(undefined);
    mintToken(deviceId).then(setToken, (error: unknown) => setProblem(failureOf(error)));
  }
  useEffect(mint, [deviceId]);
  if (problem !== undefined)
    return (
      <Dialog title={`There is no token for ${deviceId}.`} onClose={onClose}>
        <Problem failure={problem} onRetry={mint} />
      </Dialog>
    );
  return token === undefined ? null : (
    <TokenDialog title={`A token for ${deviceId}.`} token={token} onClose={onClose} />
  );
}

/** The latest state of the API, and what the live stream says after it. */
function useLatest(
  answer:
    | {
        readonly metrics: Readonly<Record<string, unknown>>;
        readonly metricTimes: Readonly<Record<string, string>>;
        readonly ts: string;
      }
    | undefined,
  live: ReadonlyMap<string, LatestValue>,
  version: number,
): ReadonlyMap<string, LatestValue> {
  return useMemo(() => {
    const merged = new Map<string, LatestValue>();
    for (const [name, value] of Object.entries(answer?.metrics ?? {}))
      merged.set(name, {
        value: value as LatestValue['value'],
        at: Date.parse(answer!.metricTimes[name] ?? answer!.ts),
      });
    for (const [name, value] of live) if ((merged.get(name)?.at ?? 0) <= value.at) merged.set(name, value);
    return merged;
  }, [answer, version]);
}

/** The metrics with a limit and those of the same unit, and one of another unit. */
function firstMetrics(numeric: readonly string[], metadata: Readonly<Record<string, unknown>> | undefined): string[] {
  const limited = limitedMetrics(metadata).filter((name) => numeric.includes(name));
  const main = limited[0] ?? numeric[0];
  if (main === undefined) return [];
  const unit = unitOf(metadata, main);
  const alike = unit === '' ? [] : numeric.filter((name) => name !== main && unitOf(metadata, name) === unit);
  const other = numeric.find((name) => name !== main && !alike.includes(name));
  return [main, ...alike.slice(0, 2), ...(other === undefined ? [] : [other])];
}

function newestEpoch<Epoch extends { readonly firstSeenAt: string }>(
  epochs: readonly Epoch[] | undefined,
): Epoch | undefined {
  return epochs?.reduce<Epoch | undefined>(
    (newest, one) =>
      newest === undefined || Date.parse(one.firstSeenAt) > Date.parse(newest.firstSeenAt) ? one : newest,
    undefined,
  );
}
