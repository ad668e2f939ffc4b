export interface JsonObject {
  readonly [name: string]: unknown;
}

/** RFC 7396, section 2: members of the patch replace, null removes, objects are merged recursively. */
export function applyMergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result = new Map(Object.entries(isObject(target) ? target : {}));
  for (const [name, change] of Object.entries(patch)) {
    if (change === null) result.delete(name);
    else result.set(name, applyMergePatch(result.get(name), change));
  }
  return Object.fromEntries(result);
}

/** The patch that turns `before` into `after`; it cannot express a null inside `after`. */
export function mergePatchBetween(before: JsonObject, after: JsonObject): JsonObject {
  const patch = new Map<string, unknown>();
  for (const name of Object.keys(before)) if (!Object.hasOwn(after, name)) patch.set(name, null);
  for (const [name, value] of Object.entries(after)) {
    const known = Object.hasOwn(before, name) ? before[name] : undefined;
    if (!isObject(value) || !isObject(known)) {
      if (!isEqual(known, value)) patch.set(name, value);
      continue;
    }
    const deeper = mergePatchBetween(known, value);
    if (Object.keys(deeper).length > 0) patch.set(name, deeper);
  }
  return Object.fromEntries(patch);
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEqual(one: unknown, other: unknown): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}
