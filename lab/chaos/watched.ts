import { eventually } from '@fleetwire/platform/testing/eventually';
import type { Breach } from './audit.ts';
import type { DeviceJournal } from './device-journal.ts';
import { type Evidence, keyOf, type StoredStream } from './evidence.ts';
import { rangesText } from './numbers.ts';
import type { Watcher } from './watcher.ts';

type Ledger = Pick<Watcher, 'received' | 'repeated'>;

/** Waits until every subscriber was sent what is stored; but not longer than this, and the audit then names what is missing. */
export async function untilWatched(ledgers: readonly Ledger[], evidence: Evidence, timeoutMs: number): Promise<void> {
  const isComplete = () => {
    if (ledgers.some((ledger) => evidence.streams.some((stream) => missing(ledger, stream).size > 0)))
      throw new Error('readings are missing');
  };
  await eventually(isComplete, { timeoutMs, intervalMs: 1_000 }).catch(() => {});
}

/** Compares what subscribers were sent with what is stored. Pure. */
export function auditWatched(
  ledgers: readonly Ledger[],
  evidence: Evidence,
  journals: readonly DeviceJournal[],
): Breach[] {
  const attempted = new Map(
    journals.map((journal) => [
      keyOf(journal),
      new Set([...journal.entries.values()].filter(({ fate }) => fate !== 'unsent').map(({ seq }) => seq)),
    ]),
  );
  const found = (rule: string, streams: readonly (readonly [name: string, numbers: Set<number>])[]): Breach[] => {
    const broken = streams.filter(([, numbers]) => numbers.size > 0);
    if (broken.length === 0) return [];
    const readings = broken.reduce((sum, [, numbers]) => sum + numbers.size, 0);
    return [{ rule, readings, identities: broken.map(([name, numbers]) => `${name}: ${rangesText(numbers)}`) }];
  };
  return ledgers.flatMap((ledger, index) => {
    const who = `to subscriber ${index + 1}`;
    const unsent = evidence.streams.map(
      (stream) => [`${stream.deviceId} (epoch ${stream.epoch})`, missing(ledger, stream)] as const,
    );
    const invented = [...ledger.received].map(
      ([key, numbers]) => [key, numbers.difference(attempted.get(key) ?? new Set())] as const,
    );
    const repeated = `sent ${who} again by the same subscription`;
    return [
      ...found(`stored, but not sent ${who}`, unsent),
      ...found(`sent ${who}, but never attempted`, invented),
      ...(ledger.repeated > 0 ? [{ rule: repeated, readings: ledger.repeated, identities: [] }] : []),
    ];
  });
}

/** A dead letter that is replayed is stored without an edge: subscribers are not sent it. */
function missing({ received }: Ledger, stream: StoredStream): Set<number> {
  return stream.stored.difference(stream.replayed).difference(received.get(keyOf(stream)) ?? new Set());
}
