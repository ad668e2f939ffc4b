import { answerOf, api } from '../../api.ts';
import { useCallback, useMemo, useRef } from 'preact/hooks';
import type { DeviceQuestion } from '../../device-question.ts';
import { type ListedDevice, firstDevices } from '../../first-devices.ts';
import { type FleetDevice, fleet, fleetIsWhole, fleetVersion } from '../../fleet.ts';
import { type Resource, useResource } from '../../resource.ts';
import { type DeviceFacts, type DeviceInTime, type DeviceRow, rowOf } from './device-rows.ts';

const listedPageMax = 1_000;
const pagesMax = 20;

export interface FleetData {
  readonly rows: readonly DeviceRow[];
  /** Else `rows` are those of the first page that answers the filter. */
  readonly isWhole: boolean;
  /** There are rows, or it is known that there are none. */
  readonly isAnswered: boolean;
  /** Of the rows that are shown. */
  readonly deviceOf: (deviceId: string) => FleetDevice | undefined;
  /** What the last day says of each device is known. */
  readonly hasFacts: boolean;
  readonly hour: Resource<Completeness>;
}

interface Completeness {
  readonly byDevice: ReadonlyMap<string, DeviceInTime>;
  /** Of all expected readings; undefined where no interval is known. */
  readonly share: number | undefined;
}

/** All devices of the live socket with what the API says of them; until they are there, the first that answer the filter, in its order. */
export function useFleetData(question: DeviceQuestion): FleetData {
  const isWhole = fleetIsWhole.value;
  const asked = useRef('');
  if (!isWhole) asked.current = JSON.stringify(question);
  const first = useResource(() => (fleetIsWhole.peek() ? Promise.resolve(undefined) : firstDevices(question)), {
    question: asked.current,
  });
  const listed = useResource(inTurn(readListed), { everyMs: 20_000 });
  const hour = useResource(
    inTurn((signal) => readCompleteness('now-1h', signal)),
    { everyMs: 60_000 },
  );
  const day = useResource(
    inTurn((signal) => readCompleteness('now-24h', signal)),
    { everyMs: 300_000 },
  );
  const version = fleetVersion.value;
  const [firstData, listedData, hourData, dayData] = [
    isWhole ? undefined : first.state.value.data,
    listed.state.value.data,
    hour.state.value.data?.byDevice,
    day.state.value.data?.byDevice,
  ];
  const held = useRef(new Map<FleetDevice, DeviceRow>());
  const firstListed = useRef<ReadonlyMap<string, ListedDevice>>(new Map());
  if (firstData !== undefined) firstListed.current = firstData.listed;
  const facts = useMemo<DeviceFacts>(() => {
    held.current.clear();
    return { listed: listedData ?? firstListed.current, hour: hourData ?? new Map(), day: dayData ?? new Map() };
  }, [firstData, listedData, hourData, dayData]);
  const shown = isWhole ? fleet : firstData?.devices;
  const rows = useMemo(() => {
    // Rows of devices that have not changed are kept.
    const made = new Map<FleetDevice, DeviceRow>();
    for (const device of shown?.values() ?? []) made.set(device, held.current.get(device) ?? rowOf(device, facts));
    held.current = made;
    return [...made.values()];
  }, [version, shown, facts]);
  const deviceOf = useCallback((id: string) => shown?.get(id), [shown]);
  return {
    rows,
    isWhole,
    isAnswered: shown !== undefined,
    deviceOf,
    hasFacts: listedData !== undefined && dayData !== undefined,
    hour,
  };
}

const firstViewMsMax = 5_000;

let turn: Promise<unknown> | undefined;

/** Questions about every device are asked one after the other, the first of them once the fleet is on the page. */
function inTurn<Answer>(load: (signal: AbortSignal) => Promise<Answer>): (signal: AbortSignal) => Promise<Answer> {
  return (signal) => {
    const answer = (turn ?? untilWhole()).then(() => {
      signal.throwIfAborted();
      return load(signal);
    });
    turn = answer.catch(() => {});
    return answer;
  };
}

/** All devices are there, or the live socket takes its time. */
function untilWhole(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, firstViewMsMax);
    const end = fleetIsWhole.subscribe((isWhole) => {
      if (!isWhole) return;
      clearTimeout(timer);
      setTimeout(() => {
        end();
        resolve();
      });
    });
  });
}

async function readListed(signal: AbortSignal): Promise<ReadonlyMap<string, ListedDevice>> {
  const found = new Map<string, ListedDevice>();
  let cursor: string | undefined;
  for (let page = 0; page < pagesMax; page += 1) {
    const query = {
      fields: ['deviceId' as const, 'lastSeenAt' as const, 'lastTs' as const],
      limit: listedPageMax,
      ...(cursor !== undefined && { cursor }),
    };
    const answer = await answerOf(api.GET('/api/v1/devices', { params: { query }, signal }));
    for (const device of answer.data) found.set(device.deviceId, device);
    if (answer.page.next === null) break;
    cursor = answer.page.next;
  }
  return found;
}

async function readCompleteness(from: string, signal: AbortSignal): Promise<Completeness> {
  const { data } = await answerOf(api.GET('/api/v1/completeness', { params: { query: { from } }, signal }));
  let expected = 0;
  let stored = 0;
  for (const device of data) {
    if (device.expected === null) continue;
    expected += device.expected;
    stored += Math.min(device.stored, device.expected);
  }
  return {
    byDevice: new Map(data.map((device) => [device.deviceId, device])),
    share: expected === 0 ? undefined : stored / expected,
  };
}
