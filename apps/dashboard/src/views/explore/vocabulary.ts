import { useMemo } from 'preact/hooks';
import { answerOf, api } from '../../api.ts';
import { fleet, fleetVersion } from '../../fleet.ts';
import { useResource } from '../../resource.ts';

/** The words that the fleet has for a question. */
export interface Vocabulary {
  readonly metrics: readonly string[];
  readonly devices: readonly string[];
  readonly tags: readonly string[];
  readonly tagKeys: readonly string[];
  readonly types: readonly string[];
}

/** Devices whose latest state names the metrics that are offered. */
const askedMax = 3;
const shownMax = 200;

/** Metrics of some devices that sent something, and ids, tags and types of all. `isKnown` once the metrics were asked for. */
export function useVocabulary(): Vocabulary & { readonly isKnown: boolean; readonly total: number } {
  const metrics = useResource(async (signal) => {
    const query = { sort: '-lastSeenAt', fields: ['deviceId', 'lastSeenAt'], limit: 20 } as const;
    const { data } = await answerOf(api.GET('/api/v1/devices', { params: { query: query as never }, signal }));
    const asked = data.filter(({ lastSeenAt }) => lastSeenAt !== null).slice(0, askedMax);
    const answers = await Promise.all(
      asked.map(({ deviceId }) =>
        answerOf(api.GET('/api/v1/devices/{id}/latest', { params: { path: { id: deviceId } }, signal })),
      ),
    );
    const values = answers.flatMap((answer) => Object.entries((answer as { metrics?: object }).metrics ?? {}));
    // Numbers come first: the page begins with one.
    const isNumber = ([, value]: [string, unknown]) =>
      typeof value === 'number' || typeof (value as { value?: unknown } | null)?.value === 'number';
    const inOrder = [...values.filter(isNumber), ...values.filter((one) => !isNumber(one))];
    return [...new Set(inOrder.map(([name]) => name))];
  });
  const version = fleetVersion.value;
  const words = useMemo(() => {
    const tags = new Set<string>();
    const types = new Set<string>();
    for (const { registration } of fleet.values()) {
      for (const tag of registration?.tags ?? []) tags.add(tag);
      if (registration?.type) types.add(registration.type);
    }
    const keys = [...tags].filter((tag) => tag.includes(':')).map((tag) => tag.slice(0, tag.indexOf(':')));
    return {
      devices: [...fleet.keys()].toSorted().slice(0, shownMax),
      tags: [...tags].toSorted(),
      tagKeys: [...new Set(keys)].toSorted(),
      types: [...types].toSorted(),
    };
  }, [version]);
  const { data, failure } = metrics.state.value;
  return { ...words, metrics: data ?? [], isKnown: data !== undefined || failure !== undefined, total: fleet.size };
}

/** The unit of a metric, as the metadata of some device gives it (`{"units":{"temperature":"°C"}}`); empty where none does. */
export function unitOf(metric: string): string {
  for (const { registration } of fleet.values()) {
    const unit = (registration?.metadata['units'] as Record<string, unknown> | undefined)?.[metric];
    if (typeof unit === 'string') return unit;
  }
  return '';
}
