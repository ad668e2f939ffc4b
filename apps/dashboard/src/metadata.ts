import { isZone } from './times.ts';

/**
 * What the metadata of a device says of its metrics and of where it stands:
 * `{"units":{"product.temperature":"°C"},"limits":{"product.temperature":{"above":-15}},"timeZone":"Europe/Berlin"}`.
 * Other members are the client's own. An unknown unit stays empty, it is not guessed.
 */
type Metadata = Readonly<Record<string, unknown>> | undefined;

export interface Limit {
  readonly above?: number;
  readonly below?: number;
}

export function unitOf(metadata: Metadata, metric: string): string {
  const unit = memberOf(metadata, 'units')?.[metric];
  return typeof unit === 'string' ? unit : '';
}

/** The IANA name of the zone that the device is in; undefined where none is given that the browser knows. */
export function timeZoneOf(metadata: Metadata): string | undefined {
  const name = metadata?.['timeZone'];
  return typeof name === 'string' && isZone(name) ? name : undefined;
}

export function limitOf(metadata: Metadata, metric: string): Limit | undefined {
  const limit = memberOf(metadata, 'limits')?.[metric];
  if (typeof limit !== 'object' || limit === null) return undefined;
  const { above, below } = limit as Record<string, unknown>;
  return { ...(typeof above === 'number' && { above }), ...(typeof below === 'number' && { below }) };
}

/** The metrics that have a limit: what the viewer probably looks for first. */
export function limitedMetrics(metadata: Metadata): string[] {
  return Object.keys(memberOf(metadata, 'limits') ?? {});
}

function memberOf(metadata: Metadata, name: string): Record<string, unknown> | undefined {
  const member = metadata?.[name];
  return typeof member === 'object' && member !== null && !Array.isArray(member)
    ? (member as Record<string, unknown>)
    : undefined;
}
