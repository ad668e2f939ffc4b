import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { useLocation } from 'preact-iso';
import { answerOf, api } from '../../api.ts';
import { now } from '../../clock.ts';
import { download } from '../../download.ts';
import { count, decimalsOf, duration, metricValue, percentage, plural, rate } from '../../format.ts';
import { deviceQuestion } from '../../device-question.ts';
import { Icon, type IconName } from '../../icons.tsx';
import { query, setQuery } from '../../query.ts';
import { useResource } from '../../resource.ts';
import { isOperator } from '../../session.ts';
import { type Column, type Sort, Table } from '../../table.tsx';
import {
  type DeviceRow,
  type PresenceWord,
  asName,
  matches,
  noteOf,
  rowsCsv,
  sorted,
  tagKeys,
  tagValue,
} from './device-rows.ts';
import { type VisibleValues, followVisible, sparkSize } from './visible-values.ts';

const marks: Record<PresenceWord, readonly [icon: IconName, tone: string]> = {
  online: ['on', 'wirec'],
  stale: ['stale', 'warn'],
  offline: ['off', 'dim3'],
  'never seen': ['never', 'dim3'],
};

/** State of a device: mark, word, colour. */
function StateMark({ state }: { readonly state: PresenceWord }) {
  const [icon, tone] = marks[state];
  return (
    <span class={`state${state === 'stale' ? ' warn' : state === 'online' ? '' : ' dim'}`}>
      <Icon name={icon} tone={tone} /> {state}
    </span>
  );
}

/** Rows that have moved are told after this time, so that a busy fleet does not sort all the time. */
const orderEveryMs = 2_000;

export function DeviceTable({
  rows,
  total,
  isWhole,
  isAnswered,
  hasFacts,
  groupKey,
  units,
  limited,
  onAdd,
}: {
  readonly rows: readonly DeviceRow[];
  /** Of the fleet; undefined while it is not known. */
  readonly total: number | undefined;
  /** Else more rows are coming. */
  readonly isWhole: boolean;
  readonly isAnswered: boolean;
  readonly hasFacts: boolean;
  readonly groupKey: string | undefined;
  readonly units: (deviceId: string, metric: string) => string;
  readonly limited: ReadonlySet<string>;
  readonly onAdd: () => void;
}) {
  const { route } = useLocation();
  const { metric: askedMetric } = query.value;
  const asked = deviceQuestion(query.value);
  const { filter, sort } = asked;
  const { text: q, type, tags, presence } = filter;
  const keys = useMemo(() => tagKeys(rows).slice(0, 3), [rows.length]);
  const values = useMemo(() => new Map(keys.map((key) => [key, valuesOf(rows, key)])), [keys, rows.length]);
  const types = useMemo(() => [...new Set(rows.map((row) => row.type).filter(Boolean))].toSorted(), [rows.length]);
  const readNames = (signal: AbortSignal) => (isAnswered ? readMetricNames(signal) : Promise.resolve([]));
  const metrics = useResource(readNames, { question: String(isAnswered), everyMs: 120_000 }).state.value.data ?? [];
  const metric = askedMetric ?? metrics.find((name) => limited.has(name)) ?? metrics[0];

  const question = JSON.stringify(asked);
  const filtered = useMemo(() => rows.filter((row) => matches(row, filter)), [rows, question]);
  const { ordered, moved, sortAgain } = useOrder(filtered, sort, groupKey ?? '', `${question} ${isWhole} ${hasFacts}`);
  const visible = useRef<ReturnType<typeof followVisible> | undefined>(undefined);
  visible.current ??= followVisible();
  useEffect(() => () => visible.current?.stop(), []);

  const groupName = groupKey === undefined ? 'Group' : asName(groupKey);
  const firmware = keys.find((key) => key === 'firmware');
  const isPhone = usePhone();
  const { held } = visible.current;
  // The same columns as before keep the rows that are drawn.
  const columns = useMemo(
    () =>
      isPhone
        ? phoneColumns(groupKey, metric, held, units)
        : columnsOf(groupName, groupKey, metric, firmware, held, units),
    [isPhone, groupName, groupKey, metric, firmware, held, units],
  );
  const filters = [q, type, ...tags, presence].filter(Boolean);
  return (
    <>
      <div class="bar hscroll" role="search" aria-label="Filter devices">
        <label class="field w">
          <Icon name="find" tone="dim3" />
          <input
            aria-label="Filter by id, name or tag"
            type="search"
            placeholder="id, name or tag…"
            value={q}
            onInput={({ currentTarget }) => setQuery({ q: currentTarget.value })}
          />
        </label>
        <button
          type="button"
          class="chip"
          aria-pressed={sort.column === 'state' && !sort.descending}
          onClick={() => setQuery({ sort: undefined })}
        >
          needs attention first
        </button>
        <Choice
          label="state"
          value={presence}
          options={['attention', 'online', 'stale', 'offline', 'never seen']}
          onChoose={(value) => setQuery({ presence: value })}
        />
        {types.length > 0 && (
          <Choice label="type" value={type} options={types} onChoose={(value) => setQuery({ type: value })} />
        )}
        {keys.map((key) => (
          <Choice
            key={key}
            label={key}
            value={tagValue(tags, key)}
            options={values.get(key) ?? []}
            onChoose={(value) =>
              setQuery({
                tag: [
                  ...tags.filter((one) => !one.startsWith(`${key}:`)),
                  ...(value === '' ? [] : [`${key}:${value}`]),
                ].join(','),
              })
            }
          />
        ))}
        {metrics.length > 0 && (
          <Choice
            label="metric"
            value={metric ?? ''}
            options={metrics}
            onChoose={(value) => setQuery({ metric: value })}
            isRequired
          />
        )}
        <span class="grow" />
        <span class="dim nw">
          {isWhole
            ? countText(ordered.length, rows.length)
            : total === undefined
              ? ''
              : `Loading ${plural(total, 'device')}…`}
        </span>
        <button type="button" class="btn" onClick={() => download('devices.csv', 'text/csv', rowsCsv(ordered))}>
          <Icon name="save" />
          CSV
        </button>
        {isOperator() && (
          <button type="button" class="btn main" onClick={onAdd}>
            <Icon name="plus" />
            Add device
          </button>
        )}
      </div>
      {moved > 0 && (
        <p class="moved">
          <button type="button" class="btn sm" onClick={sortAgain}>
            {plural(moved, 'row')} moved: sort again
          </button>
        </p>
      )}
      <div class="devices">
        <Table
          label="Devices"
          rowPx={isPhone ? phoneRowPx : undefined}
          columns={columns}
          rows={ordered}
          // Rows that are coming have their place.
          total={isWhole || filters.length > 0 ? undefined : total}
          keyOf={(row) => row.deviceId}
          sort={sort}
          onSort={({ column, descending }) => setQuery({ sort: `${descending ? '-' : ''}${column}` })}
          onOpen={(row) => route(`/devices/${encodeURIComponent(row.deviceId)}`)}
          onVisible={(seen) =>
            visible.current?.show(
              seen.filter(hasSent).map((row) => row.deviceId),
              metric,
            )
          }
          empty={
            !(isWhole || isAnswered) ? undefined : filters.length === 0 ? (
              <>
                No device has sent a reading yet.{' '}
                {isOperator() && (
                  <button type="button" class="link" onClick={onAdd}>
                    Add a device
                  </button>
                )}
              </>
            ) : (
              <>
                No device matches{' '}
                {filters.map((one) => (
                  <>
                    <span class="tag">{one}</span>{' '}
                  </>
                ))}
                .{' '}
                <button type="button" class="link" onClick={() => setQuery({ q: '', type: '', tag: '', presence: '' })}>
                  Remove the filters
                </button>
                {isOperator() && (
                  <>
                    {' '}
                    or{' '}
                    <button type="button" class="link" onClick={onAdd}>
                      add a device
                    </button>
                  </>
                )}
                .
              </>
            )
          }
        />
      </div>
    </>
  );
}

/** The API knows no values of a device that has never sent. */
function hasSent({ state, lastSeenAt }: DeviceRow): boolean {
  return state !== 'never seen' || lastSeenAt !== undefined;
}

function countText(shown: number, all: number): string {
  return shown === all ? plural(all, 'device') : `${count(shown)} of ${plural(all, 'device')}`;
}

const phoneRowPx = 52;
const phoneWidth = matchMedia('(max-width: 640px)');

function usePhone(): boolean {
  const [isPhone, setPhone] = useState(phoneWidth.matches);
  useEffect(() => {
    const change = () => setPhone(phoneWidth.matches);
    phoneWidth.addEventListener('change', change);
    return () => phoneWidth.removeEventListener('change', change);
  }, []);
  return isPhone;
}

/** The order stays while values change, so that rows do not jump; it is made again for another question, another fleet, or on request. */
function useOrder(
  rows: readonly DeviceRow[],
  sort: Sort,
  groupKey: string,
  question: string,
): { readonly ordered: readonly DeviceRow[]; readonly moved: number; readonly sortAgain: () => void } {
  const held = useRef<
    { key: string; ids: string[]; checkedAt: number; checked: readonly DeviceRow[]; moved: number } | undefined
  >(undefined);
  const [, again] = useState(0);
  const key = `${question}\n${rows.length}`;
  if (held.current?.key !== key)
    held.current = {
      key,
      ids: sorted(rows, sort, groupKey).map((row) => row.deviceId),
      checkedAt: Date.now(),
      checked: rows,
      moved: 0,
    };
  const order = held.current.ids;
  const ordered = useMemo(() => {
    const byId = new Map(rows.map((row) => [row.deviceId, row]));
    return order.flatMap((id) => byId.get(id) ?? []);
  }, [rows, order]);
  if (held.current.checked !== rows && Date.now() - held.current.checkedAt > orderEveryMs) {
    const fresh = sorted(rows, sort, groupKey);
    held.current.checkedAt = Date.now();
    held.current.checked = rows;
    held.current.moved =
      sort.column === 'last'
        ? 0
        : movedRows(
            held.current.ids,
            fresh.map((row) => row.deviceId),
          );
  }
  return {
    ordered,
    moved: held.current.moved,
    sortAgain: () => {
      held.current = undefined;
      again((n) => n + 1);
    },
  };
}

/** How many rows are not in their order: those that one must take out so that the rest is in order, at least. */
function movedRows(before: readonly string[], after: readonly string[]): number {
  const place = new Map(after.map((id, index) => [id, index]));
  const tails: number[] = [];
  for (const id of before) {
    const at = place.get(id) ?? 0;
    let low = 0;
    let high = tails.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (tails[middle]! < at) low = middle + 1;
      else high = middle;
    }
    tails[low] = at;
  }
  return before.length - tails.length;
}

function columnsOf(
  groupName: string,
  groupKey: string | undefined,
  metric: string | undefined,
  firmware: string | undefined,
  held: VisibleValues,
  units: (deviceId: string, metric: string) => string,
): Column<DeviceRow>[] {
  return [
    { id: 'state', label: 'State', width: '98px', sortable: true, cell: (row) => <StateMark state={row.state} /> },
    {
      id: 'device',
      label: 'Device',
      width: 'minmax(90px, 1fr)',
      sortable: true,
      cell: (row) => (
        <a class="id" tabIndex={-1} href={`/devices/${encodeURIComponent(row.deviceId)}`}>
          {row.deviceId}
        </a>
      ),
    },
    { id: 'name', label: 'Name', width: 'minmax(110px, 1.6fr)', sortable: true, fromPx: 760, cell: (row) => row.name },
    {
      id: 'group',
      label: groupName,
      width: 'minmax(76px, 0.9fr)',
      sortable: true,
      fromPx: 900,
      cell: (row) => asName(groupKey === undefined ? row.type : tagValue(row.tags, groupKey)),
    },
    {
      id: 'value',
      label: metric ?? 'Value',
      width: 'minmax(90px, 0.8fr)',
      numeric: true,
      cell: (row) => <Value row={row} metric={metric} held={held} units={units} />,
    },
    {
      id: 'spark',
      label: 'Last hour',
      width: '132px',
      fromPx: 600,
      cell: (row) => <Spark row={row} held={held} />,
    },
    {
      id: 'last',
      label: 'Last reading',
      width: '96px',
      numeric: true,
      sortable: true,
      fromPx: 480,
      cell: (row) => <Age row={row} held={held} />,
    },
    {
      id: 'rate',
      label: 'Rate, 1 h',
      width: '64px',
      numeric: true,
      sortable: true,
      fromPx: 1_000,
      cell: (row) =>
        row.perSecond === undefined ? (
          '—'
        ) : (
          <>
            {rate(row.perSecond)}
            <span class="u">/s</span>
          </>
        ),
    },
    {
      id: 'complete',
      label: 'Complete, 24 h',
      width: '96px',
      numeric: true,
      sortable: true,
      fromPx: 840,
      cell: (row) => (
        <>
          {row.share === undefined ? '—' : percentage(row.share)} <span class="u">%</span>
        </>
      ),
    },
    ...(firmware === undefined
      ? []
      : [
          {
            id: 'firmware',
            label: 'Firmware',
            width: '64px',
            fromPx: 1_120,
            cell: (row: DeviceRow) => <span class="id dim">{tagValue(row.tags, firmware)}</span>,
          },
        ]),
    {
      id: 'note',
      label: 'Note',
      width: 'minmax(120px, 1.4fr)',
      sortable: true,
      fromPx: 700,
      cell: (row) => {
        const note = noteOf(row);
        return <span class={note.isWarning ? 'warn' : 'dim'}>{note.text}</span>;
      },
    },
  ];
}

/** Rows of two lines: state, device and its group, the last hour, the value and its age. */
function phoneColumns(
  groupKey: string | undefined,
  metric: string | undefined,
  held: VisibleValues,
  units: (deviceId: string, metric: string) => string,
): Column<DeviceRow>[] {
  return [
    {
      id: 'state',
      label: 'State',
      width: '16px',
      cell: ({ state }) => <Icon name={marks[state][0]} tone={marks[state][1]} label={state} />,
    },
    {
      id: 'device',
      label: 'Device',
      width: 'minmax(0, 1fr)',
      cell: (row) => (
        <>
          <a class="id" tabIndex={-1} href={`/devices/${encodeURIComponent(row.deviceId)}`}>
            {row.deviceId}
          </a>
          <br />
          <span class="dim3">{asName(groupKey === undefined ? row.type : tagValue(row.tags, groupKey))}</span>
        </>
      ),
    },
    {
      id: 'spark',
      label: 'Last hour',
      width: '104px',
      cell: (row) => <Spark row={row} held={held} />,
    },
    {
      id: 'value',
      label: metric ?? 'Value',
      width: '88px',
      numeric: true,
      cell: (row) => (
        <>
          <Value row={row} metric={metric} held={held} units={units} />
          <br />
          <span class="dim3">
            <Age row={row} held={held} />
          </span>
        </>
      ),
    },
  ];
}

/** How long ago the newest reading of a device arrived. */
function Age({ row, held }: { readonly row: DeviceRow; readonly held: VisibleValues }) {
  const seenAt = Math.max(row.lastSeenAt ?? 0, held.valueOf(row.deviceId).value?.at ?? 0);
  return (
    <span class={row.state === 'stale' ? 'warn' : undefined}>{seenAt === 0 ? '—' : ageOf(now.value - seenAt)}</span>
  );
}

function Value({
  row,
  metric,
  held,
  units,
}: {
  readonly row: DeviceRow;
  readonly metric: string | undefined;
  readonly held: VisibleValues;
  readonly units: (deviceId: string, metric: string) => string;
}) {
  const value = held.valueOf(row.deviceId).value?.value;
  const decimals = held.sparkOf(row.deviceId).value?.decimals ?? 0;
  return (
    <>
      <b>
        {value === undefined
          ? '—'
          : metricValue(value, typeof value === 'number' ? Math.max(decimals, decimalsOf([value])) : undefined)}
      </b>{' '}
      <span class="u">{metric === undefined ? '' : units(row.deviceId, metric)}</span>
    </>
  );
}

/** The elements stay while other rows scroll through: an empty path is drawn as nothing. */
function Spark({ row, held }: { readonly row: DeviceRow; readonly held: VisibleValues }) {
  const spark = held.sparkOf(row.deviceId).value;
  if (spark !== undefined && spark.end === undefined)
    return <span class="dim no-phone">no reading in the last hour</span>;
  const { line = '', end } = spark ?? {};
  const isSilent = end !== undefined && row.state !== 'online';
  return (
    <svg class="spark" viewBox={`0 0 ${sparkSize.widthPx} ${sparkSize.heightPx}`} aria-hidden="true">
      <path d={line} />
      <path class="gap" d={isSilent ? `M${end.x + 3} ${end.y}H128` : ''} />
      <circle cx={end?.x ?? 0} cy={end?.y ?? 0} r={end === undefined ? 0 : 2} />
    </svg>
  );
}

/** Ages tick every second below a minute, and every minute below an hour. */
function ageOf(ms: number): string {
  const step = ms < 10_000 ? 100 : ms < 60_000 ? 1_000 : 1_000;
  return duration(Math.floor(Math.max(0, ms) / step) * step);
}

function Choice({
  label,
  value,
  options,
  onChoose,
  isRequired = false,
}: {
  readonly label: string;
  readonly value: string;
  readonly options: readonly string[];
  readonly onChoose: (value: string) => void;
  readonly isRequired?: boolean;
}) {
  return (
    <label class={`chip choice${value === '' || isRequired ? '' : ' chosen'}`}>
      {label}:{' '}
      <select aria-label={label} value={value} onChange={({ currentTarget }) => onChoose(currentTarget.value)}>
        {!isRequired && <option value="">any</option>}
        {options.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  );
}

function valuesOf(rows: readonly DeviceRow[], key: string): string[] {
  return [...new Set(rows.map((row) => tagValue(row.tags, key)).filter(Boolean))].toSorted();
}

const sampleMax = 100;

/** Names of numeric metrics of the devices that have sent last, those of most devices first. */
async function readMetricNames(signal: AbortSignal): Promise<string[]> {
  const { data } = await answerOf(api.GET('/api/v1/data', { params: { query: { limit: sampleMax } }, signal }));
  const counts = new Map<string, number>();
  for (const { metrics } of data)
    for (const [name, value] of Object.entries(metrics))
      if (typeof value === 'number') counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].toSorted((a, b) => b[1] - a[1]).map(([name]) => name);
}
