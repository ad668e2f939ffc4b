import type { ClientJournal } from '../fleet/journal.ts';
import { RangeSet } from '../fleet/range-set.ts';
import type { Evidence, StoredStream } from './evidence.ts';

export interface FleetRecord {
  readonly journal: Pick<ClientJournal, 'deviceId' | 'epoch' | 'attempted' | 'acked' | 'refused' | 'givenUp'>;
  /** Bad on purpose: exactly these may be refused. */
  readonly plannedRefusals: RangeSet;
}

/** What became of every reading that was attempted, in readings: each is counted once. */
export interface Accounting {
  readonly attempted: number;
  readonly acked: number;
  readonly stored: number;
  readonly deadLettered: number;
  readonly refused: number;
  /** Neither stored nor dead-lettered nor refused, and never acknowledged. */
  readonly neverAcked: number;
  /** Acknowledged and gone. */
  readonly lost: number;
  readonly balanced: boolean;
}

/** `identities` names the offenders, where there are any. */
export interface Breach {
  readonly rule: string;
  readonly readings: number;
  readonly identities: readonly string[];
}

const identitiesShownMax = 20;

/** Holds the client journals of the fleet against what is stored. Pure: all it knows was gathered before. */
export function audit(
  fleet: readonly FleetRecord[],
  evidence: Evidence,
): { accounting: Accounting; breaches: Breach[] } {
  const offences = new Map<string, { readings: number; identities: string[] }>();
  const accuse = (rule: string, { deviceId, epoch }: { deviceId: string; epoch: string }, offenders: RangeSet) => {
    if (offenders.size === 0) return;
    const offence = offences.get(rule) ?? { readings: 0, identities: [] };
    offences.set(rule, offence);
    offence.readings += offenders.size;
    if (offence.identities.length < identitiesShownMax)
      offence.identities.push(`${deviceId} (epoch ${epoch}): ${offenders}`);
  };

  const accounting = { attempted: 0, acked: 0, stored: 0, deadLettered: 0, refused: 0, neverAcked: 0, lost: 0 };
  const unknown = new Map(evidence.streams.map((stream) => [keyOf(stream), stream]));
  for (const { journal, plannedRefusals } of fleet) {
    const { attempted, acked, refused, givenUp } = journal;
    const stream = unknown.get(keyOf(journal)) ?? emptyStream(journal);
    unknown.delete(keyOf(journal));
    const { stored, deadLettered } = stream;
    const onlyDead = deadLettered.minus(stored);
    const missing = attempted.minus(stored).minus(onlyDead).minus(refused);
    const neverAcked = missing.minus(acked);
    const lost = missing.minus(neverAcked);

    accuse('acknowledged, and neither stored nor dead-lettered', journal, acked.minus(stored).minus(deadLettered));
    accuse('stored twice', journal, stream.storedTwice);
    accuse('stored, and never attempted', journal, stored.minus(attempted));
    accuse('refused, and stored all the same', journal, refused.minus(refused.minus(stored)));
    accuse('refused, though nothing was wrong with it', journal, refused.minus(plannedRefusals));
    accuse('bad, and acknowledged', journal, acked.minus(acked.minus(plannedRefusals)));
    accuse('dead-lettered, though nothing was wrong with it', journal, deadLettered);
    accuse('neither acknowledged nor refused after everything was healed', journal, givenUp);

    accounting.attempted += attempted.size;
    accounting.acked += acked.size;
    accounting.stored += stored.size;
    accounting.deadLettered += onlyDead.size;
    accounting.refused += refused.size;
    accounting.neverAcked += neverAcked.size;
    accounting.lost += lost.size;
  }
  for (const stream of unknown.values()) accuse('stored, and never attempted', stream, stream.stored);

  const breaches = [...offences].map(([rule, offence]): Breach => ({ rule, ...offence }));
  const add = (rule: string, readings: number, identities: readonly string[] = []) => {
    if (readings > 0) breaches.push({ rule, readings, identities: identities.slice(0, identitiesShownMax) });
  };
  add('a dead letter that names no reading', evidence.namelessDeadLetters);
  add('stored with another content than was sent', evidence.alteredSamples.length, evidence.alteredSamples);
  const { attempted, stored, deadLettered, refused, neverAcked, lost } = accounting;
  const difference = attempted - stored - deadLettered - refused - neverAcked - lost;
  add(
    'the accounting do not balance: attempted = stored + dead-lettered + refused + never acked',
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
