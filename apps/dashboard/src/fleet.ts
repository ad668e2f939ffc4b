import { batch, signal } from '@preact/signals';
import { answerOf, api } from './api.ts';
import type { DeviceRegistration, LiveMessage } from './live-messages.ts';
import { openSocket, watch } from './live.ts';
import { sleep } from './sleep.ts';

/** What this page knows of a device from the live socket: what is registered of it, and whether it is connected. */
export interface FleetDevice {
  readonly deviceId: string;
  readonly registration: DeviceRegistration | undefined;
  readonly presence:
    | { readonly status: 'online' | 'stale' | 'offline'; readonly reason: string; readonly since: string }
    | undefined;
}

export interface FleetCounts {
  readonly total: number;
  readonly online: number;
  readonly stale: number;
  readonly offline: number;
  /** Registered, and has never been connected. */
  readonly never: number;
}

/** All devices by id, once `fleetIsWhole`. Read it together with `fleetVersion`, which grows when they have changed. */
export const fleet = new Map<string, FleetDevice>();
export const fleetVersion = signal(0);
/** The live socket has told what every device is like. Until then counts and first rows come from the API. */
export const fleetIsWhole = signal(false);
export const fleetCounts = signal<FleetCounts | undefined>(undefined);

const writesEveryMs = 250;
/** A large fleet is drawn once a second: its cells and order cost more than a person can follow. */
const writesEveryMsOfMany = 1_000;
const many = 1_000;
/** What every device is like is two messages for each: they are asked for after the first view, or after this time. */
const countsMsMax = 1_500;
let timer: ReturnType<typeof setTimeout> | undefined;

/**
 * Counts the devices, then follows presence and registry of all of them on the live socket.
 * @param firstView what the page asks for before anything else
 * @returns ends it
 */
export function followFleet(firstView: Promise<unknown>): () => void {
  const asking = new AbortController();
  let isFollowing = true;
  let end = () => {};
  openSocket();
  const counted = countFleet(asking.signal);
  void begin();
  async function begin(): Promise<void> {
    await Promise.all([Promise.race([counted, sleep(countsMsMax)]), firstView]);
    await painted();
    if (isFollowing) end = watch({ pattern: '*', events: ['presence', 'registry'] }, receive);
  }
  return () => {
    isFollowing = false;
    asking.abort();
    end();
    clearTimeout(timer);
    timer = undefined;
    fleet.clear();
    fleetIsWhole.value = false;
    fleetCounts.value = undefined;
  };
}

/** Where it fails, the live socket tells the counts. */
async function countFleet(signal: AbortSignal): Promise<void> {
  try {
    const counts = await answerOf(api.GET('/api/v1/presence', { signal }));
    if (signal.aborted || fleetIsWhole.peek()) return;
    const { devices: total, neverConnected: never, online, stale, offline } = counts;
    fleetCounts.value = { total, online, stale, offline, never };
  } catch {
    // No counts yet.
  }
}

/** What is known now is on the screen, unless the page is hidden. */
function painted(): Promise<void> {
  return new Promise((resolve) => {
    if (document.hidden) resolve();
    else requestAnimationFrame(() => setTimeout(resolve));
  });
}

function receive(message: LiveMessage): void {
  if (message.type === 'presence') {
    const { status, reason, since } = message;
    change(message.deviceId, { presence: { status, reason, since } });
  } else if (message.type === 'registry') {
    if (message.state.status === 'retired' || !message.matches) fleet.delete(message.deviceId);
    else change(message.deviceId, { registration: message.state });
  } else if (message.type === 'present') {
    if (!fleetIsWhole.peek()) return publish();
  } else return;
  if (fleetIsWhole.peek()) timer ??= setTimeout(publish, fleet.size > many ? writesEveryMsOfMany : writesEveryMs);
}

function publish(): void {
  timer = undefined;
  batch(() => {
    fleetIsWhole.value = true;
    fleetVersion.value += 1;
    fleetCounts.value = countsOf(fleet.values());
  });
}

function countsOf(devices: Iterable<Pick<FleetDevice, 'presence'>>): FleetCounts {
  const counts = { total: 0, online: 0, stale: 0, offline: 0, never: 0 };
  for (const { presence } of devices) {
    counts.total += 1;
    counts[presence?.status ?? 'never'] += 1;
  }
  return counts;
}

/** A device that has changed is another object: what was made of the old one is known to be old. */
function change(deviceId: string, changes: Partial<FleetDevice>): void {
  fleet.set(deviceId, { deviceId, registration: undefined, presence: undefined, ...fleet.get(deviceId), ...changes });
}
