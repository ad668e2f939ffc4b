import { type Claims, mayRead } from '@fleetwire/contracts/access';
import { limits } from '@fleetwire/contracts/limits';
import {
  type SubscribeRequest,
  type SubscriptionEvent,
  parseSubscribe,
  parseUnsubscribe,
  subscribeMembers,
  subscriptionEvents,
} from '@fleetwire/contracts/subscription';
import { TooManyDevices } from './device-client.ts';
import { HistoryRefusal } from './history-client.ts';
import { LiveFilter, patternIssue } from './live-filter.ts';

type RefusalCode =
  | 'unknown-type'
  | 'unknown-member'
  | 'missing-field'
  | 'wrong-type'
  | 'limit-exceeded'
  | 'invalid-pattern'
  | 'duplicate-subscription'
  | 'no-such-subscription'
  | 'too-many-subscriptions'
  | 'forbidden'
  | 'cursor-invalid'
  | 'cursor-foreign'
  | 'registry-unavailable';

/** The answer to a frame that is refused. */
export class Refusal extends Error {
  readonly code: RefusalCode;
  /** The same frame may be accepted later. */
  readonly isRetryable: boolean;

  constructor(code: RefusalCode, message: string, isRetryable = false) {
    super(message);
    this.code = code;
    this.isRetryable = isRetryable;
  }
}

/** A `subscribe` frame as it was understood. */
export interface RequestedSubscription {
  readonly request: SubscribeRequest;
  readonly filter: LiveFilter;
  readonly mode: 'complete' | 'latest';
  readonly events: readonly SubscriptionEvent[];
}

const relativeTime = /^now(?:-(\d{1,9})(ms|s|m|h|d|w))?$/;
const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** @throws {Refusal} */
export function subscriptionOf(frame: unknown, claims: Claims): RequestedSubscription {
  const parsed = parseSubscribe(frame);
  if (!parsed.ok) throw new Refusal(codeOf(parsed.issue.code), parsed.issue.message);
  const request = parsed.value;
  refuseUnknownMembers(frame as object);
  const events = eventsOf(request);
  refuseContradictions(request, events);
  return { request, filter: filterOf(request, claims), mode: modeOf(request), events };
}

/** @throws {Refusal} */
export function idOf(frame: unknown): string {
  const parsed = parseUnsubscribe(frame);
  if (!parsed.ok) throw new Refusal(codeOf(parsed.issue.code), parsed.issue.message);
  return parsed.value.id;
}

/** What the subscriber is told when the devices of a filter could not be read. */
export function refusalOf(error: Error): Refusal {
  if (error instanceof TooManyDevices) return new Refusal('limit-exceeded', error.message);
  return new Refusal(
    'registry-unavailable',
    `the devices of this filter cannot be read: ${error.message}`,
    !(error instanceof HistoryRefusal),
  );
}

/** Relative times are resolved now, so that a history that is read later begins at the same time. */
export function timeOf(since: string): string {
  const [isRelative, count = '0', unit = 'ms'] = relativeTime.exec(since) ?? [];
  if (isRelative !== undefined)
    return new Date(
      Math.max(limits.timestampMinMs, Date.now() - Number(count) * unitMs[unit as keyof typeof unitMs]),
    ).toISOString();
  const instant = /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(since) ? Date.parse(since) : Number.NaN;
  if (!Number.isFinite(instant))
    throw new Refusal('wrong-type', 'since must be "now-15m" (ms, s, m, h, d, w) or an RFC 3339 time with an offset');
  return new Date(instant).toISOString();
}

function refuseUnknownMembers(frame: object): void {
  const unknown = Object.keys(frame).find((name) => !subscribeMembers.has(name));
  if (unknown !== undefined)
    throw new Refusal(
      'unknown-member',
      `${JSON.stringify(unknown.slice(0, 64))} is not a member of subscribe; it has ${[...subscribeMembers].join(', ')}`,
    );
  const { type } = frame as { type?: unknown };
  if (type !== undefined && type !== 'subscribe')
    throw new Refusal(
      'unknown-member',
      'type is the type of the message; select by the type of devices with deviceType',
    );
}

function eventsOf({ events = ['readings'] }: SubscribeRequest): readonly SubscriptionEvent[] {
  const unknown = events.find((event) => !(subscriptionEvents as readonly string[]).includes(event));
  if (unknown !== undefined)
    throw new Refusal(
      'unknown-type',
      `events[] has "${unknown.slice(0, 64)}"; ${subscriptionEvents.join(', ')} are accepted`,
    );
  return events as readonly SubscriptionEvent[];
}

function refuseContradictions(request: SubscribeRequest, events: readonly SubscriptionEvent[]): void {
  const { since, cursor, maxRateHz, metrics, mode, devices, pattern, tag, deviceType } = request;
  if (devices === undefined && pattern === undefined && tag === undefined && deviceType === undefined)
    throw new Refusal(
      'missing-field',
      'devices, pattern, tag or deviceType is missing; pattern "*" selects all devices',
    );
  const ofReadings = Object.entries({ since, cursor, maxRateHz, metrics, mode }).find(
    ([, value]) => value !== undefined,
  );
  if (!events.includes('readings') && ofReadings !== undefined)
    throw new Refusal('wrong-type', `${ofReadings[0]} is about readings; add "readings" to events`);
  if (since !== undefined && cursor !== undefined) throw new Refusal('wrong-type', 'send since or cursor, not both');
  const isResumable = since !== undefined || cursor !== undefined;
  if (isResumable && (mode === 'latest' || maxRateHz !== undefined))
    throw new Refusal(
      'wrong-type',
      'since and cursor need mode "complete", without maxRateHz; mode "latest" is live only',
    );
  if (mode === 'complete' && maxRateHz !== undefined)
    throw new Refusal('wrong-type', 'maxRateHz needs mode "latest": it leaves readings out');
  for (const one of [pattern ?? []].flat()) {
    const issue = patternIssue(one);
    if (issue !== undefined) throw new Refusal('invalid-pattern', `pattern "${one}" ${issue}`);
  }
}

function filterOf(request: SubscribeRequest, claims: Claims): LiveFilter {
  if (claims.role !== 'device') return new LiveFilter(request);
  const { devices, pattern } = request;
  const isItself = (devices ?? []).every((device) => mayRead(claims, device));
  // A device's "*" means itself.
  const isOwnPattern = pattern === undefined || [pattern].flat().every((one) => one === '*' || one === claims.sub);
  if (!isItself || !isOwnPattern) throw new Refusal('forbidden', `device ${claims.sub} may watch only itself`);
  return new LiveFilter({ ...request, devices: [claims.sub], pattern: undefined });
}

function modeOf({ mode, maxRateHz, since, cursor }: SubscribeRequest): 'complete' | 'latest' {
  if (mode !== undefined) return mode;
  return maxRateHz === undefined && (since !== undefined || cursor !== undefined) ? 'complete' : 'latest';
}

function codeOf(code: string): RefusalCode {
  return code === 'missing-field' || code === 'limit-exceeded' ? code : 'wrong-type';
}
