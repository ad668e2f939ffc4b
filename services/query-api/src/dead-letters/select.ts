import { deadLetterReasons } from '@fleetwire/contracts/dead-letter';
import { limits } from '@fleetwire/contracts/limits';
import { badRequest } from '@fleetwire/runtime/problem';
import { type DeadLetterStatus, deadLetterStatuses, type Selection } from '@fleetwire/store/dead-letters/selection';
import Type, { type Static } from 'typebox';
import { Instant, readInstant, requireRange } from '../time-range.ts';

const idsMax = 1_000;

export const DeadLetterId = Type.String({ minLength: 1, maxLength: 128, description: 'Id of a dead letter' });

/** The fields of a filter, in URLs and in bodies. */
export const filterFields = {
  fingerprint: Type.Optional(
    Type.String({ minLength: 1, maxLength: 64, description: 'Failures of one kind, as in /dead-letters/groups' }),
  ),
  deviceId: Type.Optional(
    Type.String({ minLength: 1, maxLength: limits.deviceIdCharactersMax, description: 'Device id' }),
  ),
  reason: Type.Optional(Type.Enum([...deadLetterReasons], { description: 'Why it could not be stored' })),
  from: Type.Optional(Instant('Last failure at or after this time')),
  to: Type.Optional(Instant('Last failure before this time')),
  status: Type.Optional(Type.Enum([...deadLetterStatuses], { description: 'Status' })),
};
export const Filter = Type.Object(filterFields, { title: 'DeadLetterFilter', additionalProperties: false });
export type Filter = Static<typeof Filter>;

/** Fields that name the dead letters of a command. */
export const choiceFields = {
  filter: Type.Optional(Filter),
  ids: Type.Optional(Type.Array(DeadLetterId, { minItems: 1, maxItems: idsMax })),
  confirm: Type.Optional(
    Type.Boolean({ description: 'Must be true if the filter matches every dead letter (none, or only a status)' }),
  ),
};
export interface Choice {
  readonly filter?: Filter;
  readonly ids?: readonly string[];
  readonly confirm?: boolean;
}

/** @param where `query` or `body.filter`: the field that a problem names; @throws {Problem} 400 */
export function selectionOf({ status, fingerprint, ...filter }: Filter, now: number, where: string): Selection {
  const instant = (name: 'from' | 'to') => {
    const text = filter[name];
    return text === undefined ? undefined : readInstant(text, now, `${where}.${name}`);
  };
  const [from, to] = [instant('from'), instant('to')];
  if (from !== undefined && to !== undefined) requireRange({ from, to }, where);
  return {
    deviceId: filter.deviceId,
    reason: filter.reason,
    from,
    to,
    ...(fingerprint !== undefined && { fingerprints: [fingerprint] }),
    ...(status !== undefined && { statuses: [status] }),
  };
}

/**
 * The dead letters of a command: those named by id, or those that a filter matches.
 * @param statuses allowed here; a filter without a status gets the first
 * @throws {Problem} 400 when both are given, a status is not allowed, or everything matches without `confirm`
 */
export function chosen(
  { filter = {}, ids, confirm = false }: Choice,
  now: number,
  statuses: readonly [DeadLetterStatus, ...DeadLetterStatus[]],
): Selection {
  if (ids !== undefined) {
    if (Object.keys(filter).length > 0)
      throw badRequest('Give either ids or a filter', [
        { field: 'body.ids', detail: 'cannot be combined with a filter' },
      ]);
    return { ids, statuses };
  }
  const { status = statuses[0], ...narrowing } = filter;
  if (!statuses.includes(status)) {
    const detail = `is ${status}; expected one of ${statuses.join(', ')}`;
    throw badRequest('Dead letters of this status are not allowed here', [{ field: 'body.filter.status', detail }]);
  }
  if (Object.keys(narrowing).length === 0 && !confirm) {
    const detail = 'must be true, because the filter matches every dead letter';
    throw badRequest('The filter matches every dead letter: confirm, or narrow it', [
      { field: 'body.confirm', detail },
    ]);
  }
  return selectionOf({ ...narrowing, status }, now, 'body.filter');
}
