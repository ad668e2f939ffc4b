import { deadLetterReasons } from '@fleetwire/contracts/dead-letter';
import { limits } from '@fleetwire/contracts/limits';
import { badRequest } from '@fleetwire/runtime/problem';
import { type DeadLetterStatus, deadLetterStatuses, type Selection } from '@fleetwire/store/dead-letters/selection';
import Type, { type Static } from 'typebox';
import { Instant, parseInstant } from '../time-range.ts';

const idsMax = 1_000;

export const DeadLetterId = Type.String({ minLength: 1, maxLength: 128, description: 'Id of a dead letter' });

/** What narrows a choice of dead letters, in URLs and bodies alike. */
export const filterFields = {
  fingerprint: Type.Optional(
    Type.String({ minLength: 1, maxLength: 64, description: 'Failures of one kind: see the groups' }),
  ),
  deviceId: Type.Optional(
    Type.String({ minLength: 1, maxLength: limits.deviceIdCharactersMax, description: 'Device' }),
  ),
  reason: Type.Optional(Type.Enum([...deadLetterReasons], { description: 'Why it could not be stored' })),
  from: Type.Optional(Instant('Failed last from here')),
  to: Type.Optional(Instant('Failed last up to, but without, here')),
  status: Type.Optional(Type.Enum([...deadLetterStatuses], { description: 'What has become of it' })),
};
export const Filter = Type.Object(filterFields, { title: 'DeadLetterFilter', additionalProperties: false });
export type Filter = Static<typeof Filter>;

/** Which dead letters a command is about. */
export const choiceFields = {
  filter: Type.Optional(Filter),
  ids: Type.Optional(Type.Array(DeadLetterId, { minItems: 1, maxItems: idsMax })),
  confirm: Type.Optional(
    Type.Boolean({ description: 'Must be true where the filter does not narrow: it then matches everything' }),
  ),
};
export interface Choice {
  readonly filter?: Filter;
  readonly ids?: readonly string[];
  readonly confirm?: boolean;
}

/** @param where `query` or `body.filter`, to name what is wrong; @throws {Problem} 400 */
export function selectionOf({ status, fingerprint, ...filter }: Filter, now: number, where: string): Selection {
  const instant = (name: 'from' | 'to') => {
    const text = filter[name];
    const at = text === undefined ? undefined : parseInstant(text, now);
    if (text === undefined || at !== undefined) return at;
    const detail = `is ${JSON.stringify(text)}; expected a time like 2026-01-31T08:00:00Z or now-6h`;
    throw badRequest('The time cannot be read', [{ field: `${where}.${name}`, detail }]);
  };
  return {
    deviceId: filter.deviceId,
    reason: filter.reason,
    from: instant('from'),
    to: instant('to'),
    ...(fingerprint !== undefined && { fingerprints: [fingerprint] }),
    ...(status !== undefined && { statuses: [status] }),
  };
}

/**
 * What a command is about: named dead letters, or those that a filter matches.
 * @param statuses those that named ones may have; a filter without a status takes the first
 * @throws {Problem} 400 when both or neither are given, a status does not fit, or everything matches without `confirm`
 */
export function chosen(
  { filter = {}, ids, confirm = false }: Choice,
  now: number,
  statuses: readonly [DeadLetterStatus, ...DeadLetterStatus[]],
): Selection {
  if (ids !== undefined) {
    if (Object.keys(filter).length > 0)
      throw badRequest('Name dead letters or filter them', [
        { field: 'body.ids', detail: 'cannot stand beside a filter' },
      ]);
    return { ids, statuses };
  }
  const { status = statuses[0], ...narrowing } = filter;
  if (!statuses.includes(status)) {
    const detail = `is ${status}; expected one of ${statuses.join(', ')}`;
    throw badRequest('Dead letters of this status cannot be chosen here', [{ field: 'body.filter.status', detail }]);
  }
  if (Object.keys(narrowing).length === 0 && !confirm) {
    const detail = 'must be true: the filter matches everything';
    throw badRequest('This is about every dead letter; say that you mean it', [{ field: 'body.confirm', detail }]);
  }
  return selectionOf({ ...narrowing, status }, now, 'body.filter');
}
