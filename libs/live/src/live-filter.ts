import { limits } from '@fleetwire/contracts/limits';
import type { IdentifiedReading } from '@fleetwire/contracts/reading';
import type { SubscribeRequest } from '@fleetwire/contracts/subscription';
import { matchesGlob } from './glob.ts';

/** No device has this id. It keeps an interest alive that selects no device yet: edges go on telling their positions. */
const noDevice = '';

/** Which readings a subscription gets, and which of their metrics. */
export class LiveFilter {
  /** Equal filters have equal keys. */
  readonly key: string;
  readonly devices: readonly string[] | undefined;
  readonly patterns: readonly string[] | undefined;
  /** Devices have all of them in the registry. */
  readonly tags: readonly string[] | undefined;
  readonly deviceType: string | undefined;
  readonly metrics: readonly string[] | undefined;
  readonly #devices: ReadonlySet<string> | undefined;
  readonly #metrics: ReadonlySet<string> | undefined;

  constructor({
    devices,
    pattern,
    tag,
    deviceType,
    metrics,
  }: {
    [Name in 'devices' | 'pattern' | 'tag' | 'deviceType' | 'metrics']?: SubscribeRequest[Name] | undefined;
  }) {
    const patterns = pattern === undefined ? undefined : [pattern].flat();
    const tags = tag === undefined ? undefined : [tag].flat();
    this.devices = devices && [...new Set(devices)].toSorted();
    this.patterns = patterns && [...new Set(patterns)].toSorted();
    this.tags = tags && [...new Set(tags)].toSorted();
    this.deviceType = deviceType;
    this.metrics = metrics && [...new Set(metrics)].toSorted();
    this.#devices = devices && new Set(devices);
    this.#metrics = metrics && new Set(metrics);
    // Cursors have a hash of it: of a filter without tag and type it stays as it was.
    const byRegistry = this.isByRegistry ? [this.tags, this.deviceType] : [];
    this.key = JSON.stringify([this.devices, this.patterns, this.metrics, ...byRegistry]);
  }

  /** Which devices it selects depends on the registry. */
  get isByRegistry(): boolean {
    return this.tags !== undefined || this.deviceType !== undefined;
  }

  /** Equal for filters that select the same devices. */
  get devicesKey(): string {
    return JSON.stringify([this.devices, this.patterns, this.tags, this.deviceType]);
  }

  /** Whether it selects a device as far as its id says. */
  matches(deviceId: string): boolean {
    if (this.#devices !== undefined && !this.#devices.has(deviceId)) return false;
    return this.patterns === undefined || this.patterns.some((pattern) => matchesGlob(pattern, deviceId));
  }

  /** Whether it selects a device as far as the registry says. */
  matchesEntry({ type, tags }: { readonly type: string | null; readonly tags: readonly string[] }): boolean {
    if (this.deviceType !== undefined && this.deviceType !== type) return false;
    return this.tags === undefined || this.tags.every((tag) => tags.includes(tag));
  }

  /** What edges have to publish for it. @param selected those that a filter by tag or device type selects now */
  interest(selected: Iterable<string> | undefined): {
    readonly devices: readonly string[];
    readonly patterns: readonly string[];
  } {
    if (this.devices !== undefined) return { devices: this.devices.filter((id) => this.matches(id)), patterns: [] };
    if (selected !== undefined) return { devices: [...selected, noDevice], patterns: [] };
    return { devices: [], patterns: this.patterns ?? [] };
  }

  /** @returns the reading with the chosen metrics; undefined when it has none of them */
  project(reading: IdentifiedReading): IdentifiedReading | undefined {
    const chosen = this.#metrics;
    if (chosen === undefined) return reading;
    const metrics = Object.entries(reading.metrics).filter(([name]) => chosen.has(name));
    return metrics.length === 0 ? undefined : { ...reading, metrics: Object.fromEntries(metrics) };
  }
}

/** @returns why a pattern is refused */
export function patternIssue(pattern: string): string | undefined {
  const stars = pattern.split('*').length - 1;
  if (stars > limits.patternStarsMax) return `has ${stars} "*"; at most ${limits.patternStarsMax} are accepted`;
  const foreign = /[^A-Za-z0-9._:*?-]/.exec(pattern)?.[0];
  return foreign === undefined ? undefined : `has ${JSON.stringify(foreign)}, which no device id contains`;
}
