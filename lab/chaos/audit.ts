import type { ClientJournal } from '../fleet/journal.ts';
import { RangeSet } from '../fleet/range-set.ts';
import type { Evidence, StoredStream } from './evidence.ts';

export interface FleetRecord {
  readonly journal: Pick<ClientJournal, 'deviceId' | 'epoch' | 'attempted' | 'acked' | 'refused' | 'givenUp'>;
  /** Invalid on purpose: only these may be refused. */
  readonly plannedRefusals: RangeSet;
}

/** The result of every reading that was attempted; each is counted once. */
export interface Accounting {
  readonly attempted: number;
  readonly acked: number;
  readonly stored: number;
  readonly deadLettered: number;
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

/** Compares the client journals of the fleet with what is stored. Pure. */
export function audit(
  fleet: readonly FleetRecord[],
  evidence: Evidence,
): { accounting: Accounting; breaches: Breach[] } {
  const found = new Map<string, { readings: number; identities: string[] }>();
  const check = (rule: string, { deviceId, epoch }: { deviceId: string; epoch: string }, readings: RangeSet) => {
    if (readings.size === 0) return;
    const breach = found.get(rule) ?? { readings: 0, identities: [] };
    found.set(rule, breach);
    breach.readings += readings.size;
    if (breach.identities.length < identitiesShownMax)
      breach.identities.push(`${deviceId} (epoch ${epoch}): ${readings}`);
  };

  const accounting = { attempted: 0, acked: 0, stored: 0, deadLettered: 0, refused: 0, neverAcked: 0, lost: 0 };
  const unclaimed = new Map(evidence.streams.map((stream) => [keyOf(stream), stream]));
  for (const { journal, plannedRefusals } of fleet) {
    const { attempted, acked, refused, givenUp } = journal;
    const stream = unclaimed.get(keyOf(journal)) ?? emptyStream(journal);
    unclaimed.delete(keyOf(journal));
    const { stored, deadLettered } = stream;
    const onlyDead = deadLettered.minus(stored);
    const missing = attempted.minus(stored).minus(onlyDead).minus(refused);
    const neverAcked = missing.minus(acked);
    const lost = missing.minus(neverAcked);

    check('acknowledged, but neither stored nor dead-lettered', journal, acked.minus(stored).minus(deadLettered));
    check('stored twice', journal, stream.storedTwice);
    check('stored, but never attempted', journal, stored.minus(attempted));
    check('refused, but stored', journal, refused.minus(refused.minus(stored)));
    check('refused, though valid', journal, refused.minus(plannedRefusals));
    check('invalid, but acknowledged', journal, acked.minus(acked.minus(plannedRefusals)));
    check('dead-lettered, though valid', journal, deadLettered);
    check('neither acknowledged nor refused after all faults were healed', journal, givenUp);

    accounting.attempted += attempted.size;
    accounting.acked += acked.size;
    accounting.stored += stored.size;
    accounting.deadLettered += onlyDead.size;
    accounting.refused += refused.size;
    accounting.neverAcked += neverAcked.size;
    accounting.lost += lost.size;
  }
  for (const stream of unclaimed.values()) check('stored, but never attempted', stream, stream.stored);

  const breaches = [...found].map(([rule, breach]): Breach => ({ rule, ...breach }));
  const add = (rule: string, readings: number, identities: readonly string[] = []) => {
    if (readings > 0) breaches.push({ rule, readings, identities: identities.slice(0, identitiesShownMax) });
  };
  add('a dead letter that names no reading', evidence.namelessDeadLetters);
  add('stored with a content other than was sent', evidence.alteredSamples.length, evidence.alteredSamples);
  const { attempted, stored, deadLettered, refused, neverAcked, lost } = accounting;
  const difference = attempted - stored - deadLettered - refused - neverAcked - lost;
  add(
    'readings not accounted for: attempted = stored + dead-lettered + refused + never acknowledged',
    Math.abs(difference),
  );
  return { accounting: { ...accounting, balanced: difference === 0 && lost === 0 }, breaches };
}

function keyOf({ deviceId, epoch }: { deviceId: string; epoch: string }): string {
  return `${deviceId} ${epoch}`;
}

function emptyStream({ deviceId, epoch }: { deviceId: string; epoch: string }): StoredStream {
  return {
    deviceId,
    epoch,
    stored: new RangeSet(),
    storedTwice: new RangeSet(),
    deadLettered: new RangeSet(),
  };
}
