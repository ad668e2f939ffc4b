import { DeviceId, Epoch, Seq } from '@fleetwire/contracts/identifiers';
import { parseJson } from '@fleetwire/contracts/json-text';
import { accepted, refused, type Parsed } from '@fleetwire/contracts/validation-issue';
import { parseObservation } from '@fleetwire/contracts/reading';
import { parserOf } from '@fleetwire/contracts/schema-issue';
import { jsonOfPayload, type StoredDeadLetter } from '@fleetwire/store/dead-letters/browse';
import type { EditedCopy } from '@fleetwire/store/dead-letters/replays';
import Type from 'typebox';
import { applyMergePatch, isObject, mergePatchBetween, type JsonObject } from './merge-patch.ts';

export type Edit = { readonly patch: JsonObject } | { readonly replacement: JsonObject };

const identityNames = ['deviceId', 'epoch', 'seq'] as const;
const names: readonly string[] = [...identityNames, 'ts', 'metrics'];

const parseIdentity = parserOf(Type.Object({ deviceId: DeviceId, epoch: Epoch, seq: Seq }));
const known = {
  deviceId: parserOf(DeviceId),
  epoch: parserOf(Epoch),
  seq: parserOf(Seq),
};

/**
 * Applies an edit to the reading in a dead letter, and validates the result like any reading. The identity may be filled in where the
 * dead letter has none, but not changed: it would be another reading.
 * @returns the copy, and what differs from the original as a merge patch (RFC 7396)
 */
export function editCopy(
  letter: Pick<StoredDeadLetter, 'deviceId' | 'epoch' | 'seq' | 'payload'>,
  edit: Edit,
  now: number,
): Parsed<{ readonly copy: EditedCopy; readonly difference: JsonObject }> {
  const before = readingIn(letter);
  const after = 'patch' in edit ? applyMergePatch(before, edit.patch) : { ...identityIn(before), ...edit.replacement };
  if (!isObject(after)) return refused('wrong-type', '', 'the edited reading must be an object');

  const unknown = Object.keys(after).find((name) => !names.includes(name));
  if (unknown !== undefined)
    return refused('forbidden-name', unknown, `is not a member of a reading; members are ${names.join(', ')}`);
  for (const name of identityNames) {
    if (known[name](before[name]).ok && before[name] !== after[name])
      return refused('forbidden', name, 'identifies the reading and cannot be changed');
  }
  // The HTTP layer accepts text in JSON that Postgres cannot store.
  const storable = parseJson(JSON.stringify(after));
  if (!storable.ok) return storable;
  const identity = parseIdentity(after);
  if (!identity.ok) return identity;
  const observation = parseObservation({ ts: after['ts'], metrics: after['metrics'] }, now, true);
  if (!observation.ok) return observation;

  const { deviceId, epoch, seq } = identity.value;
  const copy = { deviceId, epoch, seq, ...observation.value };
  return accepted({ copy, difference: mergePatchBetween(before, copy) });
}

/** The members of a reading that the dead letter still has. */
function readingIn({ deviceId, epoch, seq, payload }: Parameters<typeof editCopy>[0]): JsonObject {
  const parsed = jsonOfPayload(payload);
  const members = isObject(parsed) ? Object.entries(parsed).filter(([name]) => names.includes(name)) : [];
  const identity = Object.entries({ deviceId, epoch, seq }).filter(([, value]) => value !== null);
  return Object.fromEntries([...members, ...identity]);
}

function identityIn(reading: JsonObject): JsonObject {
  return Object.fromEntries(identityNames.filter((name) => name in reading).map((name) => [name, reading[name]]));
}
