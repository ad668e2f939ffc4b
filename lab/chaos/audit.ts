import type { DeviceJournal } from './device-journal.ts';
import { type Evidence, emptyStream, keyOf } from './evidence.ts';
import { rangesText } from './numbers.ts';

/** The result of every reading that was attempted; each is counted once. */
export interface Accounting {
  readonly attempted: number;
  readonly acked: number;
  readonly stored: number;
  readonly deadLettered: number;
  /** Of the stored ones, those that were dead-lettered and replayed. */
  readonly replayed: number;
  readonly refused: number;
  /** Neither stored nor dead-lettered nor refused, and never acknowledged. */
  readonly neverAcked: number;
  /** Acknowledged, but neither stored nor dead-lettered. */
  readonly lost: number;
  readonly balanced: boolean;
}

/** A broken rule. `identities` names the readings concerned, as far as they are known. */
export interface Breach {
  readonly rule: string;
  readonly readings: number;
  readonly identities: readonly string[];
}

const identitiesShownMax = 20;

/** Compares the journals of the devices with what is stored. Pure. */
export function audit(
  journals: readonly DeviceJournal[],
  evidence: Evidence,
): { accounting: Accounting; breaches: Breach[] } {
  const found = new Map<string, { readings: number; identities: string[] }>();
  const check = (rule: string, { deviceId, epoch }: { deviceId: string; epoch: string }, readings: Set<number>) => {
    if (readings.size === 0) return;
    const breach = found.get(rule) ?? { readings: 0, identities: [] };
    found.set(rule, breach);
    breach.readings += readings.size;
    if (breach.identities.length < identitiesShownMax)
      breach.identities.push(`${deviceId} (epoch ${epoch}): ${rangesText(readings)}`);
  };

  const accounting = {
    attempted: 0,
    acked: 0,
    stored: 0,
    deadLettered: 0,
    replayed: 0,
    refused: 0,
    neverAcked: 0,
    lost: 0,
  };
  const unclaimed = new Map(evidence.streams.map((stream) => [keyOf(stream), stream]));
  const contradictions: string[] = [];
  for (const journal of journals) {
    const acked = journal.numbers('acked');
    const refused = journal.numbers('refused');
    const open = journal.numbers('open');
    const attempted = acked.union(refused).union(open);
    const invalid = journal.numbersOfKind('invalid');
    const stream = unclaimed.get(keyOf(journal)) ?? emptyStream(journal);
    unclaimed.delete(keyOf(journal));
    const { stored, deadLettered } = stream;
    const onlyDead = deadLettered.difference(stored);
    const missing = attempted.difference(stored).difference(onlyDead).difference(refused);
    const lost = missing.intersection(acked);

    check('acknowledged, but neither stored nor dead-lettered', journal, lost);
    check('stored twice', journal, stream.storedTwice);
    check('stored, but never attempted', journal, stored.difference(attempted));
    check('stored, but not in the view', journal, stored.difference(stream.inView));
    check('refused, but stored', journal, refused.intersection(stored));
    check('refused, though valid', journal, refused.difference(invalid));
    check('invalid, but acknowledged', journal, acked.intersection(invalid));
    check('dead-lettered, though storable', journal, deadLettered.difference(journal.numbersOfKind('poison')));
    check('a replayed dead letter that is not stored', journal, stream.replayed.difference(stored));
    check('neither acknowledged nor refused after all faults were healed', journal, open);
    contradictions.push(...journal.contradictions.map((what) => `${journal.deviceId}: ${what}`));

    accounting.attempted += attempted.size;
    accounting.acked += acked.size;
    accounting.stored += stored.size;
    accounting.deadLettered += onlyDead.size;
    accounting.replayed += stream.replayed.size;
    accounting.refused += refused.size;
    accounting.neverAcked += missing.size - lost.size;
    accounting.lost += lost.size;
  }
  for (const stream of unclaimed.values()) check('stored, but never attempted', stream, stream.stored);

  const breaches = [...found].map(([rule, breach]): Breach => ({ rule, ...breach }));
  const add = (rule: string, readings: number, identities: readonly string[] = []) => {
    if (readings > 0) breaches.push({ rule, readings, identities: identities.slice(0, identitiesShownMax) });
  };
  add('an answer that contradicts the protocol', contradictions.length, contradictions);
  add('a dead letter that names no reading', evidence.namelessDeadLetters);
  add('stored with a content other than was sent', evidence.altered.length, evidence.altered);
  const { attempted, stored, deadLettered, refused, neverAcked, lost } = accounting;
  const difference = attempted - stored - deadLettered - refused - neverAcked - lost;
  add(
    'readings not accounted for: attempted = stored + dead-lettered + refused + never acknowledged',
    Math.abs(difference),
  );
  return { accounting: { ...accounting, balanced: difference === 0 && lost === 0 }, breaches };
}
