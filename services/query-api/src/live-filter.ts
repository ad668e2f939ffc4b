import { mayRead } from '@fleetwire/contracts/access';
import type { LiveHistoryRequest } from '@fleetwire/contracts/live-history';
import { badRequest, forbidden } from '@fleetwire/runtime/problem';
import type { LiveFilter } from '@fleetwire/store/positions/live-history';
import type { Caller } from './caller.ts';

/**
 * The filter of a subscriber, as far as it may read.
 * @throws {Problem} 400 for a filter without devices; 403 for a device that names others than itself: the pattern `*` alone means itself
 */
export function filterOf(filter: LiveHistoryRequest['filter'], caller: Caller): LiveFilter {
  const { devices, patterns, tags, deviceType } = filter;
  if (devices === undefined && patterns === undefined && tags === undefined && deviceType === undefined)
    throw badRequest('The body is not valid', [
      { field: 'body.filter', detail: 'lacks "devices", "patterns", "tags" or "deviceType"' },
    ]);
  if (caller.role !== 'device') return filter;
  const isOwn = (devices ?? []).every((device) => mayRead(caller, device));
  if (!isOwn || (patterns ?? []).some((pattern) => pattern !== '*' && pattern !== caller.sub))
    throw forbidden(
      `Device ${caller.sub} may read only its own data: name it in devices, or use the pattern "*" alone`,
    );
  return { ...filter, devices: [caller.sub], patterns: undefined };
}
