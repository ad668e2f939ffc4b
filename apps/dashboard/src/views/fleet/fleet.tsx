import '../../styles/fleet.css';
import { computed } from '@preact/signals';
import { useCallback, useEffect, useMemo, useState } from 'preact/hooks';
import { Figure, Say } from '../../area.tsx';
import { now } from '../../clock.ts';
import { deviceQuestion } from '../../device-question.ts';
import { fleetCounts } from '../../fleet.ts';
import { count, headlineCount, percentage, rate } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import { completeUntil, installation, minuteRates, openDeadLetters, workQueue } from '../../installation.ts';
import { laterPart } from '../../lazy-view.ts';
import { limitedMetrics, unitOf } from '../../metadata.ts';
import { query, setQuery } from '../../query.ts';
import { fleetSentence } from '../../sentences.ts';
import { hasRole, isOperator } from '../../session.ts';
import { timeOfDay, zoneName } from '../../times.ts';
import { type Attention, attentionList } from './attention.ts';
import { type DeviceRow, asName, tagKeys } from './device-rows.ts';
import { DeviceTable } from './device-table.tsx';
import { type FleetData, useFleetData } from './fleet-data.ts';
import { PresenceCells } from './presence-cells.tsx';

const FirstDevice = laterPart(async () => (await import('../sign-in/first-device.tsx')).FirstDevice);
const AddDevice = laterPart(async () => (await import('./device-dialogs.tsx')).AddDevice);
const RatesChart = laterPart(async () => (await import('./rates-chart.tsx')).RatesChart);

/** The fleet, or the way to its first reading while it is empty: that stays until its viewer leaves it, also after the reading is stored. */
export default function Fleet(_: { readonly path: string }) {
  const [isConnecting, setConnecting] = useState(false);
  const isEmpty = fleetCounts.value?.total === 0;
  useEffect(() => {
    if (isEmpty && hasRole('admin')) setConnecting(true);
  }, [isEmpty]);
  return isConnecting ? <FirstDevice onDone={() => setConnecting(false)} /> : <Overview />;
}

/** Are all devices there, and what needs me now? What changes each second is in parts of its own, so that the table is not drawn again for it. */
function Overview() {
  const { rows, isWhole, isAnswered, hasFacts, deviceOf, hour } = useFleetData(deviceQuestion(query.value));
  const [isAdding, setAdding] = useState(false);
  const firstKey = useMemo(() => tagKeys(rows)[0], [rows.length]);
  const groupKey = query.value['group'] ?? firstKey;
  const limited = useMemo(
    () => new Set(rows.flatMap(({ deviceId }) => limitedMetrics(deviceOf(deviceId)?.registration?.metadata))),
    [rows.length],
  );
  const units = useCallback(
    (deviceId: string, metric: string) => unitOf(deviceOf(deviceId)?.registration?.metadata, metric),
    [deviceOf],
  );
  const cellRows = useAfterPaint(isWhole ? rows : noRows);
  return (
    <>
      <Summary hour={hour} />
      <div class={`cols ruled${isOperator() ? '' : ' no-rates'}`} id="fleetcols">
        <section>
          <div class="h">
            <h2>Presence by {groupKey ?? 'type'}</h2>
            <span class="no-phone">a cell a device</span>
            <span class="r key no-phone">
              <Key shape="c-on" d="M0 1h6v6h-6z" />
              online <Key shape="c-dl" d="M0 1h6v6h-6z" />
              with dead letters <Key shape="c-st" d="M1 1.5h5v5h-5z" />
              stale <Key shape="c-of" d="M1 2l4 4m0-4l-4 4" />
              offline
            </span>
          </div>
          <PresenceCells
            rows={cellRows}
            groupKey={groupKey}
            onGroup={(value) => groupKey !== undefined && setQuery({ tag: `${groupKey}:${value}` })}
          />
        </section>
        {isOperator() && <section class="rates">{isAnswered && <RatesChart />}</section>}
        <section>
          <AttentionList rows={isWhole ? rows : undefined} groupKey={groupKey} />
        </section>
      </div>
      <DeviceTable
        rows={rows}
        total={fleetTotal.value}
        isWhole={isWhole}
        isAnswered={isAnswered}
        hasFacts={hasFacts}
        groupKey={groupKey}
        units={units}
        limited={limited}
        onAdd={() => setAdding(true)}
      />
      {isAdding && (
        <AddDevice groupKey={groupKey === undefined ? '' : asName(groupKey)} onClose={() => setAdding(false)} />
      )}
    </>
  );
}

const noRows: readonly DeviceRow[] = [];
const fleetTotal = computed(() => fleetCounts.value?.total);

/** What is drawn in a task of its own, after the rest of the page. */
function useAfterPaint<Value>(value: Value): Value {
  const [later, setLater] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLater(value));
    return () => clearTimeout(timer);
  }, [value]);
  return later;
}

/** How far readings wait to be stored. */
function backlog() {
  const queue = workQueue.value;
  if (queue === undefined) return { queue };
  const { oldest, drain } = queue;
  return {
    queue,
    behindMs: oldest.ageSeconds === null ? undefined : oldest.ageSeconds * 1_000,
    drainMs: drain.seconds === null ? undefined : drain.seconds * 1_000,
  };
}

/** The sentence, and the figures below it. */
function Summary({ hour }: { readonly hour: FleetData['hour'] }) {
  const counts = fleetCounts.value;
  const state = installation.value;
  const status = state?.status.state.value.data;
  const queues = state?.queues?.state.value.data;
  const ledger = state?.ledger?.state.value.data;
  const until = completeUntil.value;
  const rates = minuteRates.value;
  const { queue, behindMs, drainMs } = backlog();
  const sentence = fleetSentence({
    now: now.value,
    devices: counts === undefined ? undefined : { ...counts, offline: counts.offline + counts.never },
    broker: status === undefined ? undefined : { state: status.broker.state === 'down' ? 'down' : 'up' },
    database: status === undefined ? undefined : { state: status.database.state === 'down' ? 'down' : 'up' },
    queue:
      queue === undefined
        ? undefined
        : {
            readings: queue.readingsEstimate ?? queue.ready,
            oldestMs: behindMs,
            netPerSecond: netReadings(queue.rates.net, queue.readingsEstimate, queue.ready + (queue.unacked ?? 0)),
            drainMs,
            holding: queues?.workers.holding ?? 0,
          },
    accounts:
      ledger === undefined
        ? undefined
        : { state: ledger.total.state, missing: ledger.total.missing - ledger.total.acknowledged.missing },
    deadLetters: openDeadLetters.value,
  });
  const received = ledger === undefined ? undefined : headlineCount(ledger.total.received);
  const share = hour.state.value.data?.share;
  return (
    <>
      <Say sentence={sentence} />
      <dl class="figs fleet">
        <Figure label="Online" value={counts && count(counts.online)} unit={counts && `of ${count(counts.total)}`} />
        <Figure label="Stale" mark={<Icon name="stale" tone="warn" />} value={counts && count(counts.stale)} />
        <Figure
          label="Offline"
          mark={<Icon name="off" tone="dim3" />}
          value={counts && count(counts.offline + counts.never)}
        />
        {isOperator() && <Figure label="In, last minute" value={rates && rate(rates.received)} unit="/s" />}
        {isOperator() && <Figure label="Stored of these" value={rates && rate(rates.stored)} unit="/s" />}
        {isOperator() && <Figure label="Received, last hour" value={received?.value} unit={received?.unit} />}
        <Figure
          label="Complete until"
          value={until === undefined ? undefined : timeOfDay(until)}
          unit={until === undefined ? undefined : <span class="no-phone">{zoneName(until)}</span>}
        />
        <Figure
          label="Completeness, last hour"
          value={share === undefined ? undefined : percentage(share)}
          unit="% of expected"
        />
      </dl>
    </>
  );
}

/** @param rows of all devices, once they are known */
function AttentionList({
  rows,
  groupKey,
}: {
  readonly rows: readonly DeviceRow[] | undefined;
  readonly groupKey: string | undefined;
}) {
  const ledger = installation.value?.ledger?.state.value.data;
  const { behindMs, drainMs } = backlog();
  const attention = attentionList({
    rows: rows ?? noRows,
    groupKey,
    deadLetters: openDeadLetters.value,
    behindMs,
    drainMs,
    missing:
      ledger === undefined
        ? undefined
        : { readings: ledger.total.missing, acknowledged: ledger.total.acknowledged.missing },
    now: now.value,
    silentEdges: ledger?.edges.filter((edge) => edge.state === 'silent' && !edge.acknowledged),
  });
  return (
    <>
      <div class="h">
        <h2>Needs attention</h2> <span>{attention.length === 0 ? '' : attention.length}</span>
      </div>
      {attention.length > 0 ? (
        <ul class="att">
          {attention.map((one) => (
            <AttentionLine key={one.text} line={one} />
          ))}
        </ul>
      ) : (
        rows !== undefined && <p class="dim">Nothing needs you now.</p>
      )}
    </>
  );
}

function AttentionLine({ line: { mark, text, note, href } }: { readonly line: Attention }) {
  return (
    <li>
      <Icon name={mark} tone={mark === 'off' ? 'dim3' : mark} />
      <a class="t" href={href}>
        {text}
      </a>
      <span class="w">{note}</span>
    </li>
  );
}

function Key({ shape, d }: { readonly shape: string; readonly d: string }) {
  return (
    <svg class="sq" viewBox="0 0 8 8" aria-hidden="true">
      <path class={shape} d={d} />
    </svg>
  );
}

/** The queue counts messages; a message has some readings. */
function netReadings(messages: number | null, readings: number | null, inQueue: number): number | undefined {
  if (messages === null) return undefined;
  return readings === null || inQueue === 0 ? messages : messages * (readings / inQueue);
}
