import { setTimeout as sleep } from 'node:timers/promises';
import type { KeySource } from '@fleetwire/auth/key-set';
import { verifyDocument } from '@fleetwire/auth/signed-document';
import { type Claims, mayPublish } from '@fleetwire/contracts/access';
import type { DeviceStatus } from '@fleetwire/contracts/device-registry';
import { parseRegistrySnapshotPage, registrySnapshotType } from '@fleetwire/contracts/registry-snapshot';
import { type ValidationIssue, refused } from '@fleetwire/contracts/validation-issue';
import type { Logger } from '@fleetwire/runtime/logger';
import { Gauge, type Registry } from '@fleetwire/runtime/metrics';
import { forbidden, unavailable } from '@fleetwire/runtime/problem';

interface KnownDevice {
  readonly version: number;
  readonly status: DeviceStatus;
}

export interface DeviceRegistryOptions {
  /** Only registered devices may publish. */
  readonly isClosed: boolean;
  /** query-api, and a token that may read the registry there. */
  readonly url: string;
  readonly token: string;
  /** query-api signs the snapshot with one of these. */
  readonly keys: KeySource;
  readonly pollMs: number;
  readonly snapshotIntervalMs: number;
  readonly snapshotAgeMaxMs: number;
  readonly devicesMax: number;
  readonly logger: Logger;
  readonly metrics: Registry;
  /** Called after devices have changed. */
  readonly onChange: () => void;
}

interface EventsPage {
  readonly data: readonly {
    readonly deviceId: string;
    readonly version: number;
    readonly state: Omit<KnownDevice, 'version'>;
  }[];
  readonly covers: { readonly complete: boolean };
  readonly page: { readonly next: string };
}

const requestTimeoutMs = 20_000;
const eventsPerPage = 500;
/** Difference between the clocks of several query-api. */
const clocksApartMs = 60_000;

/**
 * What this edge knows of the registered devices: a signed snapshot that is read from query-api at the start and every
 * `snapshotIntervalMs`, and the changes since, read every `pollMs` in the order of their commits. While query-api is away the last state
 * stays valid.
 */
export class DeviceRegistry {
  readonly #options: DeviceRegistryOptions;
  #devices: Map<string, KnownDevice> | undefined;
  #cursor = '';
  #snapshotAt = 0;
  #asOf = 0;
  /** When the state was last known to be the present one. */
  #currentAt = Date.now();
  #isOld = false;

  constructor(options: DeviceRegistryOptions) {
    this.#options = options;
    const age = () => this.#ageSeconds;
    options.metrics.registerMetric(
      new Gauge({
        name: 'fleetwire_registry_snapshot_age_seconds',
        help: 'Time since the known state of the device registry was the present one',
        registers: [],
        collect() {
          this.set(age());
        },
      }),
    );
  }

  /** For `/readyz`: a closed registration without a snapshot refuses all devices; an old snapshot is only mentioned. */
  readiness(): true | string | { readonly warning: string } {
    if (this.#devices === undefined && this.#options.isClosed) return 'no registry snapshot yet';
    return this.#isOld ? { warning: `the registry snapshot is ${Math.round(this.#ageSeconds)} s old` } : true;
  }

  /** @throws {Problem} 403 to a device that may not publish, 503 while nothing is known and only registered devices may */
  check(claims: Claims): void {
    const { role, sub } = claims;
    if (this.#devices === undefined && this.#options.isClosed && mayPublish(claims))
      throw unavailable('This instance has no registry snapshot yet', this.#options.pollMs);
    const refusal = role === 'device' ? this.refusalOf(sub) : undefined;
    if (refusal !== undefined) throw forbidden(`Device ${sub} ${refusal}`);
  }

  /** Why readings of a device are refused, as the rest of a sentence. */
  refusalOf(deviceId: string): string | undefined {
    const device = this.#devices?.get(deviceId);
    if (device?.status === 'suspended') return 'is suspended; an operator can set its status to active';
    if (!this.#options.isClosed) return undefined;
    if (device === undefined) return 'is not registered (REGISTRATION=closed); register it with POST /devices';
    return device.status === 'retired' ? 'is retired; an operator can set its status to active' : undefined;
  }

  issueOf(deviceId: string): ValidationIssue | undefined {
    const refusal = this.refusalOf(deviceId);
    return refusal === undefined ? undefined : refused('forbidden', 'deviceId', refusal).issue;
  }

  /** Resolves when the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { pollMs, snapshotAgeMaxMs, logger } = this.#options;
    let isFailing = false;
    while (!signal.aborted) {
      try {
        await this.#refresh(signal);
        this.#currentAt = Date.now();
        this.#isOld = false;
        isFailing = false;
      } catch (error) {
        if (signal.aborted) return;
        if (!isFailing) logger.warn({ err: error }, 'failed to read the device registry; the last state stays valid');
        isFailing = true;
        if (!this.#isOld && Date.now() - this.#currentAt > snapshotAgeMaxMs) {
          this.#isOld = true;
          logger.warn({ ageSeconds: Math.round(this.#ageSeconds) }, 'registry snapshot is old');
        }
      }
      await sleep(pollMs, undefined, { signal }).catch(() => {});
    }
  }

  get #ageSeconds(): number {
    return (Date.now() - this.#currentAt) / 1_000;
  }

  async #refresh(signal: AbortSignal): Promise<void> {
    const isDue = Date.now() - this.#snapshotAt >= this.#options.snapshotIntervalMs;
    const known = isDue ? undefined : this.#devices;
    await this.#readEvents(known ?? (await this.#readSnapshot(signal)), signal);
  }

  async #readSnapshot(signal: AbortSignal): Promise<Map<string, KnownDevice>> {
    const startedAt = Date.now();
    // Before the snapshot: what changes while it is read comes as an event.
    const { page } = await this.#get<EventsPage>('/device-events?start=now&limit=1', signal);
    const devices = new Map<string, KnownDevice>();
    let after: string | null = null;
    let asOf = 0;
    let cursor: string | null = null;
    for (let isLast = false; !isLast;) {
      const path: string = `/registry-snapshot${cursor === null ? '' : `?cursor=${encodeURIComponent(cursor)}`}`;
      const answer = await this.#get<{ document: string; page: { next: string | null } }>(path, signal);
      const parsed = parseRegistrySnapshotPage(
        await verifyDocument(answer.document, registrySnapshotType, this.#options.keys),
      );
      if (!parsed.ok) throw new Error(`the registry snapshot is not valid: ${parsed.issue.message}`);
      if (parsed.value.asOf < this.#asOf - clocksApartMs)
        throw new Error('the registry snapshot is older than the one known');
      if (parsed.value.after !== after) throw new Error('the pages of the registry snapshot do not follow one another');
      for (const [id, version, status] of parsed.value.devices) {
        devices.set(id, { version, status });
        after = id;
      }
      if (devices.size > this.#options.devicesMax)
        throw new Error(`the registry has more than ${this.#options.devicesMax} devices (REGISTRY_DEVICES_MAX)`);
      isLast = parsed.value.isLast;
      asOf = parsed.value.asOf;
      cursor = answer.page.next;
    }
    this.#devices = devices;
    this.#cursor = page.next;
    this.#snapshotAt = startedAt;
    this.#asOf = asOf;
    this.#options.logger.info({ devices: devices.size }, 'registry snapshot applied');
    this.#options.onChange();
    return devices;
  }

  /** Changes the devices in place: a copy of a million for each page would hold up the acks. */
  async #readEvents(devices: Map<string, KnownDevice>, signal: AbortSignal): Promise<void> {
    for (let isComplete = false; !isComplete;) {
      const path = `/device-events?limit=${eventsPerPage}&cursor=${encodeURIComponent(this.#cursor)}`;
      const { data, covers, page } = await this.#get<EventsPage>(path, signal);
      for (const { deviceId, version, state } of data) {
        if (version <= (devices.get(deviceId)?.version ?? 0)) continue;
        devices.set(deviceId, { version, status: state.status });
      }
      this.#cursor = page.next;
      isComplete = covers.complete;
      if (data.length > 0) this.#options.onChange();
    }
  }

  async #get<T>(path: string, signal: AbortSignal): Promise<T> {
    const { url, token } = this.#options;
    const response = await fetch(`${url.replace(/\/+$/, '')}/api/v1${path}`, {
      headers: { authorization: `Bearer ${token.trim()}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(requestTimeoutMs)]),
    });
    if (response.ok) return (await response.json()) as T;
    // The cursor is of no use any more: after a restore, or with another password of the database.
    if (response.status === 410 || response.status === 400) this.#snapshotAt = 0;
    throw new Error(`query-api answered ${response.status}: ${(await response.text()).slice(0, 300)}`);
  }
}
