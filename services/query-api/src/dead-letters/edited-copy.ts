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
 * Makes a reading of a dead letter and an edit, and judges it as any reading is judged. Its identity may be filled in where the dead
 * letter has none, but not changed: under another it would be another reading.
 * @returns the copy, and what differs from the original as a merge patch (RFC 7396)
 */
export function editedCopy(
  letter: Pick<StoredDeadLetter, 'deviceId' | 'epoch' | 'seq' | 'payload'>,
  edit: Edit,
  now: number,
): Parsed<{ readonly copy: EditedCopy; readonly difference: JsonObject }> {
  const before = readingIn(letter);
  const after = 'patch' in edit ? applyMergePatch(before, edit.patch) : { ...identityIn(before), ...edit.replacement };
  if (!isObject(after)) return refused('wrong-type', '', 'the edited reading must be an object');

  const stranger = Object.keys(after).find((name) => !names.includes(name));
  if (stranger !== undefined)
    return refused('forbidden-name', stranger, `is no part of a reading: ${names.join(', ')}`);
  for (const name of identityNames) {
    if (known[name](before[name]).ok && before[name] !== after[name])
      return refused('forbidden', name, 'identifies the reading and cannot be changed');
  }
  // The HTTP layer parses JSON without looking for text that Postgres cannot hold.
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

/** What of a reading can be made out in a dead letter. */
function readingIn({ deviceId, epoch, seq, payload }: Parameters<typeof editedCopy>[0]): JsonObject {
  const parsed = jsonOfPayload(payload);
  const members = isObject(parsed) ? Object.entries(parsed).filter(([name]) => names.includes(name)) : [];
  const identity = Object.entries({ deviceId, epoch, seq }).filter(([, value]) => value !== null);
  return Object.fromEntries([...members, ...identity]);
}

function identityIn(reading: JsonObject): JsonObject {
  return Object.fromEntries(identityNames.filter((name) => name in reading).map((name) => [name, reading[name]]));
}
