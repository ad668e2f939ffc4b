import type { DeviceEventType } from '@fleetwire/contracts/device-event';
import { checkMetadata, DeviceFields } from '@fleetwire/contracts/device-registry';
import { parserOf } from '@fleetwire/contracts/schema-issue';
import type { ValidationIssue } from '@fleetwire/contracts/validation-issue';
import { Problem, unprocessable } from '@fleetwire/runtime/problem';
import { updateDevice } from '@fleetwire/store/registry/changes';
import { getDevice, type RegistryState, type StoredDevice } from '@fleetwire/store/registry/devices';
import { lastEventOfDevice } from '@fleetwire/store/registry/events';
import type { Caller } from '../caller.ts';
import { type JsonObject, mergePatchBetween } from '../dead-letters/merge-patch.ts';
import type { ApiContext } from '../route.ts';
import { bodyProblem } from '../router.ts';
import { isoTime } from '../time-range.ts';
import { etagOf, unknownDevice } from './read-routes.ts';
import { presentState } from './schemas.ts';

/** How often a change is computed again where the caller accepts any version and another change came between. */
const attemptsMax = 5;

const parseFields = parserOf(DeviceFields);

export interface Change {
  readonly id: string;
  readonly ifMatch: string | undefined;
  readonly caller: Caller;
  /** @throws {Problem} 422 when the state would break a limit */
  readonly change: (before: StoredDevice) => {
    readonly type: DeviceEventType;
    readonly state: RegistryState;
    /** Of the job that erases the readings. */
    readonly erasureId?: string;
  };
}

/**
 * Changes a device that has the version which the caller has read, and records it. A change that changes nothing makes no new version.
 * @throws {Problem} 404, 412 or 428
 */
export async function changeDevice(api: ApiContext, { id, ifMatch, caller, change }: Change): Promise<StoredDevice> {
  if (ifMatch === undefined)
    throw new Problem(428, 'Precondition required', {
      detail:
        'If-Match is missing: send the ETag of the version that you have read, so that no change of another client is overwritten, or * for any version',
    });
  for (let attempt = 1; ; attempt += 1) {
    const before = await api.registry.run(getDevice, { deviceId: id });
    if (before === undefined) throw unknownDevice(id);
    if (!matches(ifMatch, before.version)) throw await stale(api, before);
    const { type, state, erasureId } = change(before);
    const patch = differenceOf(before, state);
    if (Object.keys(patch).length === 0) return before;
    const isRegistration = before.version === 0 && type === 'device.updated';
    const isDone = await api.registryChanges.run(updateDevice, {
      deviceId: id,
      expectedVersion: before.version,
      type: isRegistration ? 'device.registered' : type,
      actor: caller.sub,
      state,
      patch,
      erasureId,
    });
    if (isDone) return { ...before, ...state, version: before.version + 1 };
    if (attempt === attemptsMax)
      throw new Problem(409, 'Conflict', { detail: `Device ${id} is being changed by others; try again` });
  }
}

/** The state with other fields; status and marks stay. @throws {Problem} 422 naming the member that breaks a limit */
export function withFields(
  { status, erasedBefore }: Pick<RegistryState, 'status' | 'erasedBefore'>,
  fields: unknown,
): RegistryState {
  const parsed = parseFields(fields);
  if (!parsed.ok) throw refusal(parsed.issue);
  const {
    name = null,
    type = null,
    tags = [],
    location = null,
    metadata = {},
    expectedIntervalMs = null,
  } = parsed.value;
  requireMetadata(metadata);
  return { name, type, status, tags: [...new Set(tags)], location, metadata, expectedIntervalMs, erasedBefore };
}

/** @throws {Problem} 422 */
export function requireMetadata(metadata: unknown): void {
  const checked = checkMetadata(metadata);
  if (!checked.ok) throw refusal(checked.issue);
}

function refusal(issue: ValidationIssue): Problem {
  return unprocessable('The device would break a limit', [bodyProblem(issue)]);
}

export function differenceOf(before: RegistryState | undefined, after: RegistryState): JsonObject {
  return mergePatchBetween(before === undefined ? {} : presentState(before), presentState(after));
}

/**
 * Weak tags match too, unlike RFC 9110, 13.1.1: the tag is a version of the resource and not of the bytes that show it, and nginx makes it
 * weak where it compresses the answer.
 */
function matches(ifMatch: string, version: number): boolean {
  return ifMatch.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etagOf(version));
}

async function stale({ registry }: ApiContext, { deviceId, version }: StoredDevice): Promise<Problem> {
  const last = await registry.run(lastEventOfDevice, { deviceId });
  return new Problem(412, 'Precondition failed', {
    detail: `Device ${deviceId} has version ${version} now; read it again, and repeat your change with its ETag`,
    extensions: {
      current: {
        etag: etagOf(version),
        changedBy: last?.actor ?? null,
        changedAt: last === undefined ? null : isoTime(last.occurredAt),
      },
    },
  });
}
