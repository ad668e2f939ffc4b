import type { components } from '@fleetwire/client/openapi';
import type { Signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { type Failure, answerOf, api, failureOf } from '../../api.ts';
import { Problem } from '../../area.tsx';
import type { ChartData } from '../../chart/chart-model.ts';
import { Twin } from '../../chart/twin.tsx';
import { now } from '../../clock.ts';
import { columnValue, count, decimalsOf, duration, metricValue } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import { unitOf } from '../../metadata.ts';
import { query, setQuery } from '../../query.ts';
import type { Resource } from '../../resource.ts';
import { isOperator } from '../../session.ts';
import { moment, timeWithMilliseconds, zoneName } from '../../times.ts';
import { stateText } from './bands.ts';
import type { TimedReading } from './buckets.ts';
import { commandText } from './command-text.ts';
import { commandMarks, commandOutcome } from './rail.tsx';

type Schemas = components['schemas'];

export interface TabFeeds {
  readonly gaps: Resource<{
    readonly epochs: readonly Schemas['Sequence'][];
    readonly data: readonly Schemas['Gap'][];
  }>;
  readonly letters: Resource<{ readonly data: readonly Schemas['DeadLetter'][] }> | undefined;
  readonly commands: Resource<{
    readonly data: readonly Schemas['Command'][];
    readonly covers: { readonly complete: boolean };
  }>;
  readonly connections: Resource<{
    readonly data: readonly Schemas['Connection'][];
    readonly covers: { readonly complete: boolean };
  }>;
}

export function Tabs({
  deviceId,
  feeds,
  readings,
  completeUntil,
  twin,
  cursor,
  metadata,
  metrics,
  nameOf,
  range,
}: {
  readonly deviceId: string;
  readonly feeds: TabFeeds;
  readonly readings: readonly TimedReading[];
  readonly completeUntil: number | undefined;
  readonly twin: ChartData;
  readonly cursor: Signal<number | undefined>;
  readonly metadata: Readonly<Record<string, unknown>> | undefined;
  readonly metrics: readonly string[];
  /** The name of an edge. */
  readonly nameOf: (edge: string) => string;
  readonly range: { readonly from: number; readonly to: number };
}) {
  const chosen = query.value['tab'] ?? 'readings';
  const more = (
    feed: Resource<{ readonly data: readonly unknown[]; readonly covers?: { readonly complete: boolean } }> | undefined,
  ) => {
    const data = feed?.state.value.data;
    return data === undefined ? '' : `${count(data.data.length)}${data.covers?.complete === false ? '+' : ''}`;
  };
  const tabs: readonly (readonly [id: string, label: string, count: string])[] = [
    ['readings', 'Readings', ''],
    ['table', 'Table of the chart', ''],
    ['gaps', 'Gaps', more(feeds.gaps)],
    ...(feeds.letters === undefined ? [] : [['letters', 'Dead letters', more(feeds.letters)] as const]),
    ['commands', 'Commands', more(feeds.commands)],
    ['connections', 'Connections', more(feeds.connections)],
  ];
  const move = (event: KeyboardEvent, at: number) => {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (step === 0) return;
    const next = tabs[(at + step + tabs.length) % tabs.length]!;
    setQuery({ tab: next[0] });
    document.getElementById(`tab-${next[0]}`)?.focus();
  };
  return (
    <>
      <div class="tabs hscroll" role="tablist" aria-label="More of the device">
        {tabs.map(([id, label, number], at) => (
          <button
            key={id}
            id={`tab-${id}`}
            type="button"
            role="tab"
            aria-selected={chosen === id}
            aria-controls="tab-panel"
            tabIndex={chosen === id ? 0 : -1}
            onClick={() => setQuery({ tab: id })}
            onKeyDown={(event) => move(event, at)}
          >
            {label} <span class="dim3">{number}</span>
          </button>
        ))}
      </div>
      <div role="tabpanel" id="tab-panel" aria-labelledby={`tab-${chosen}`} class="tabpanel">
        {chosen === 'readings' && (
          <Readings
            deviceId={deviceId}
            live={readings}
            completeUntil={completeUntil}
            metadata={metadata}
            metrics={metrics}
            range={range}
          />
        )}
        {chosen === 'table' && <Twin title={deviceId} data={twin} cursor={cursor} />}
        {chosen === 'gaps' && <Gaps feed={feeds.gaps} />}
        {chosen === 'letters' && feeds.letters !== undefined && <Letters feed={feeds.letters} />}
        {chosen === 'commands' && <CommandList feed={feeds.commands} />}
        {chosen === 'connections' && <Connections feed={feeds.connections} nameOf={nameOf} />}
      </div>
    </>
  );
}

const liveShown = 12;
const pageSize = 50;

interface Page {
  readonly data: readonly Schemas['Reading'][];
  readonly next: string | null;
}

/** Live readings first, newest on top; older ones page by page from the API. */
function Readings({
  deviceId,
  live,
  completeUntil,
  metadata,
  metrics,
  range,
}: {
  readonly deviceId: string;
  readonly live: readonly TimedReading[];
  readonly completeUntil: number | undefined;
  readonly metadata: Readonly<Record<string, unknown>> | undefined;
  readonly metrics: readonly string[];
  readonly range: { readonly from: number; readonly to: number };
}) {
  const [pages, setPages] = useState<readonly Page[]>([]);
  const [failure, setFailure] = useState<Failure>();
  const [busy, setBusy] = useState(false);
  useEffect(() => setPages([]), [deviceId]);
  const newest = live
    .slice(-liveShown * 3)
    .filter(({ at }) => at <= range.to && at >= range.from)
    .toSorted((a, b) => b.at - a.at)
    .slice(0, liveShown);
  const shown = pages.flatMap(({ data }) => data);
  const known = new Set(newest.map(({ epoch, seq }) => `${epoch} ${seq}`));
  const rows = [
    ...newest,
    ...shown
      .filter(({ epoch, seq }) => !known.has(`${epoch} ${seq}`))
      .map((reading) => ({ ...reading, deviceId, at: Date.parse(reading.ts) })),
  ];
  const texts = [
    ...new Set(
      rows
        .slice(0, 30)
        .flatMap((row) => Object.keys(row.metrics).filter((name) => typeof row.metrics[name] !== 'number')),
    ),
  ].slice(0, 2);
  const numbers = metrics.slice(0, 4);
  const decimals = Object.fromEntries(
    numbers.map((name) => [
      name,
      decimalsOf(rows.map((row) => row.metrics[name]).filter((value) => typeof value === 'number')),
    ]),
  );

  async function more(): Promise<void> {
    setBusy(true);
    setFailure(undefined);
    try {
      const last = pages.at(-1);
      const oldest = newest.at(-1)?.at ?? range.to;
      const at =
        last?.next === undefined || last.next === null
          ? { from: new Date(range.from).toISOString(), to: new Date(oldest).toISOString() }
          : { cursor: last.next, from: first(pages, range.from), to: firstTo(pages, oldest) };
      const answer = await answerOf(
        api.GET('/api/v1/devices/{id}/readings', {
          params: { path: { id: deviceId }, query: { ...at, limit: pageSize } },
        }),
      );
      setPages([...pages, Object.assign({ data: answer.data, next: answer.page.next }, { from: at.from, to: at.to })]);
    } catch (error) {
      setFailure(failureOf(error));
    } finally {
      setBusy(false);
    }
  }

  const isDone = pages.at(-1)?.next === null;
  return (
    <>
      <div class="widetable" tabIndex={0} role="region" aria-label="Readings">
        <table class="tight">
          <thead>
            <tr>
              <th aria-sort="descending">Device time ({zoneName(now.value)}) ↓</th>
              {numbers.map((name) => (
                <th key={name} class="num">
                  {name}
                </th>
              ))}
              {texts.map((name) => (
                <th key={name} class="no-phone">
                  {name}
                </th>
              ))}
              <th class="num">seq</th>
              <th class="no-phone">boot</th>
              <th>state</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => {
              const isStored = completeUntil !== undefined && Date.parse(row.receivedAt ?? row.ts) <= completeUntil;
              return (
                <tr key={`${row.epoch} ${row.seq}`}>
                  <td class="id" title={row.ts}>
                    {timeWithMilliseconds(row.at)}
                  </td>
                  {numbers.map((name) => (
                    <td key={name} class="num">
                      {row.metrics[name] === undefined ? (
                        '—'
                      ) : (
                        <>
                          {numberText(row.metrics[name], decimals[name] ?? 0)}{' '}
                          <span class="u">{unitOf(metadata, name)}</span>
                        </>
                      )}
                    </td>
                  ))}
                  {texts.map((name) => (
                    <td key={name} class="dim no-phone">
                      {row.metrics[name] === undefined ? '' : stateText(row.metrics[name])}
                    </td>
                  ))}
                  <td class="num dim">{count(row.seq)}</td>
                  <td class="id dim no-phone">{row.epoch}</td>
                  <td class={isStored ? 'dim' : 'warn'}>{isStored ? 'stored' : 'live, not stored yet'}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {rows.length === 0 && <p class="dim empty">No live reading in this range.</p>}
      {failure !== undefined && <Problem failure={failure} />}
      <div class="acts2">
        <button type="button" class="btn sm" disabled={busy || isDone} onClick={() => void more()}>
          {isDone ? 'No older readings in this range' : `Older readings`}
        </button>
      </div>
    </>
  );
}

/** Numbers of a column stand below each other. */
const numberText = (value: unknown, decimals: number) =>
  typeof value === 'number' && Math.abs(value) < 1e15 ? columnValue(value, decimals) : metricValue(value, 3);

/** A cursor is for the question that it came with. */
function first(pages: readonly Page[], usual: number): string {
  return (pages[0] as { from?: string } | undefined)?.from ?? new Date(usual).toISOString();
}

function firstTo(pages: readonly Page[], usual: number): string {
  return (pages[0] as { to?: string } | undefined)?.to ?? new Date(usual).toISOString();
}

function Gaps({ feed }: { readonly feed: TabFeeds['gaps'] }) {
  const answer = feed.state.value.data;
  if (answer === undefined) return <p class="dim">Loading gaps…</p>;
  const conflicting = answer.epochs.filter((one) => one.conflicting > 0);
  return (
    <>
      {answer.data.length === 0 && conflicting.length === 0 && (
        <p class="dim empty">No number is missing in the sequence of this device.</p>
      )}
      {answer.data.length > 0 && (
        <table class="tight">
          <thead>
            <tr>
              <th>Boot</th>
              <th class="num">From seq</th>
              <th class="num">To seq</th>
              <th class="num">Missing</th>
              <th class="num">Of these dead letters</th>
            </tr>
          </thead>
          <tbody>
            {answer.data.map((gap) => (
              <tr key={`${gap.epoch} ${gap.from}`}>
                <td class="id">{gap.epoch}</td>
                <td class="num">{count(gap.from)}</td>
                <td class="num">{count(gap.to)}</td>
                <td class="num">
                  <b>{count(gap.count)}</b>
                </td>
                <td class="num">{count(gap.deadLettered)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {conflicting.map((one) => (
        <p key={one.epoch} class="warn">
          <Icon name="warn" /> {count(one.conflicting)} readings of boot <span class="id">{one.epoch}</span> reuse a
          number with other content and were not stored.
        </p>
      ))}
    </>
  );
}

function Letters({ feed }: { readonly feed: NonNullable<TabFeeds['letters']> }) {
  const { data, failure } = feed.state.value;
  if (failure !== undefined) return <Problem failure={failure} onRetry={() => feed.refresh()} />;
  if (data === undefined) return <p class="dim">Loading dead letters…</p>;
  if (data.data.length === 0) return <p class="dim empty">No reading of this device is a dead letter.</p>;
  return (
    <table class="tight">
      <thead>
        <tr>
          <th>Failed</th>
          <th>Reason</th>
          <th>State</th>
        </tr>
      </thead>
      <tbody>
        {data.data.map((letter) => (
          <tr key={letter.id}>
            <td class="id">
              <a class="link" href={`/dead-letters/${letter.id}`}>
                {moment(letter.lastFailedAt, now.value)}
              </a>
            </td>
            <td>{letter.reason.replaceAll('-', ' ')}</td>
            <td class={letter.status === 'open' ? 'warn' : 'dim'}>{letter.status}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function CommandList({ feed }: { readonly feed: TabFeeds['commands'] }) {
  const answer = feed.state.value.data;
  if (answer === undefined) return <p class="dim">Loading commands…</p>;
  if (answer.data.length === 0)
    return (
      <p class="dim empty">No command was sent to this device yet.{isOperator() ? ' Send one at the right.' : ''}</p>
    );
  return (
    <div class="widetable" tabIndex={0} role="region" aria-label="Commands">
      <table class="tight">
        <thead>
          <tr>
            <th>State</th>
            <th>Command</th>
            <th>Outcome</th>
            <th>Result</th>
            <th>Sent by</th>
            <th class="num">Created</th>
          </tr>
        </thead>
        <tbody>
          {answer.data.map((command) => {
            const [icon, tone] = commandMarks[command.state];
            return (
              <tr key={command.id}>
                <td>
                  <Icon name={icon} tone={tone} /> {command.state}
                </td>
                <td class="id">{commandText(command)}</td>
                <td class="dim">{commandOutcome(command)}</td>
                <td class="id dim">
                  {command.result === null || command.result === undefined
                    ? ''
                    : stateText(command.result).slice(0, 80)}
                </td>
                <td class="dim">{command.createdBy}</td>
                <td class="num dim">{moment(command.createdAt, now.value)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function Connections({
  feed,
  nameOf,
}: {
  readonly feed: TabFeeds['connections'];
  readonly nameOf: (edge: string) => string;
}) {
  const answer = feed.state.value.data;
  if (answer === undefined) return <p class="dim">Loading connections…</p>;
  if (answer.data.length === 0) return <p class="dim empty">This device has not connected in this range.</p>;
  return (
    <table class="tight">
      <thead>
        <tr>
          <th>Began</th>
          <th class="num">Lasted</th>
          <th>Ended by</th>
          <th>Edge</th>
          <th>Boot</th>
        </tr>
      </thead>
      <tbody>
        {answer.data.map(({ sessionId, startedAt, endedAt, reason, edge, epoch }) => (
          <tr key={sessionId}>
            <td class="id">{moment(startedAt, now.value)}</td>
            <td class="num">
              {duration((endedAt === null ? now.value : Date.parse(endedAt)) - Date.parse(startedAt))}
            </td>
            <td class="dim">{endedAt === null ? 'is open' : (reason ?? '').replaceAll('-', ' ')}</td>
            <td class="id dim">{nameOf(edge)}</td>
            <td class="id dim">{epoch}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
