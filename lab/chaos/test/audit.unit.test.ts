import { describe, expect, it } from 'vitest';
import { audit } from '../audit.ts';
import { DeviceJournal } from '../device-journal.ts';
import { type Evidence, emptyStream } from '../evidence.ts';

const device = { deviceId: 'd-1', epoch: 'boot' };
type Numbers = readonly (readonly [first: number, last: number])[];

function setOf(numbers: Numbers = []): Set<number> {
  const set = new Set<number>();
  for (const [first, last] of numbers) for (let seq = first; seq <= last; seq += 1) set.add(seq);
  return set;
}

/** A journal of readings from 1 on, all of them attempted. */
function fleetOf(
  fates: { attempted?: Numbers; acked?: Numbers; refused?: Numbers },
  invalid: Numbers = fates.refused ?? [],
  poison: Numbers = [],
): DeviceJournal[] {
  const journal = new DeviceJournal(device.deviceId, device.epoch);
  const acked = setOf(fates.acked);
  const isInvalid = setOf(invalid);
  const isPoison = setOf(poison);
  for (const seq of setOf(fates.attempted)) {
    const kind = isInvalid.has(seq) ? 'invalid' : isPoison.has(seq) ? 'poison' : 'storable';
    journal.attempted(journal.enter('{}', kind));
  }
  for (const seq of setOf(fates.refused)) journal.refused(seq, 1);
  for (const seq of acked) journal.acknowledged(seq, (each) => acked.has(each));
  return [journal];
}

function evidenceOf(
  stream: Partial<Record<'stored' | 'storedTwice' | 'inView' | 'deadLettered' | 'replayed', Numbers>>,
  rest: Partial<Evidence> = {},
  identity = device,
): Evidence {
  const kept = {
    ...emptyStream(identity),
    stored: setOf(stream.stored),
    storedTwice: setOf(stream.storedTwice),
    inView: setOf(stream.inView ?? stream.stored),
    deadLettered: setOf(stream.deadLettered),
    replayed: setOf(stream.replayed),
  };
  return { streams: [kept], deadLetters: [], namelessDeadLetters: 0, contentsCompared: 0, altered: [], ...rest };
}

const rulesOf = (journals: readonly DeviceJournal[], evidence: Evidence) =>
  audit(journals, evidence).breaches.map(({ rule, readings }) => `${rule}: ${readings}`);

describe('the audit', () => {
  it('finds no breach when every acked reading is stored and the rest was refused as planned', () => {
    const fleet = fleetOf({
      attempted: [[1, 100]],
      acked: [
        [1, 49],
        [51, 100],
      ],
      refused: [[50, 50]],
    });
    const evidence = evidenceOf({
      stored: [
        [1, 49],
        [51, 100],
      ],
    });
    const { accounting, breaches } = audit(fleet, evidence);
    expect(breaches).toEqual([]);
    expect(accounting).toEqual({
      attempted: 100,
      acked: 99,
      stored: 99,
      deadLettered: 0,
      replayed: 0,
      refused: 1,
      neverAcked: 0,
      lost: 0,
      balanced: true,
    });
  });

  it('names acknowledged readings that are lost', () => {
    const { accounting, breaches } = audit(
      fleetOf({ attempted: [[1, 10]], acked: [[1, 10]] }),
      evidenceOf({
        stored: [
          [1, 3],
          [6, 10],
        ],
      }),
    );
    expect(breaches).toEqual([
      {
        rule: 'acknowledged, but neither stored nor dead-lettered',
        readings: 2,
        identities: ['d-1 (epoch boot): 4-5'],
      },
    ]);
    expect(accounting).toMatchObject({ lost: 2, balanced: false });
  });

  it('finds no breach when exactly the poison readings are dead-lettered', () => {
    const fleet = fleetOf({ attempted: [[1, 10]], acked: [[1, 10]] }, [], [[4, 4]]);
    const stored: Numbers = [
      [1, 3],
      [5, 10],
    ];
    expect(rulesOf(fleet, evidenceOf({ stored, deadLettered: [[4, 4]] }))).toEqual([]);
    expect(rulesOf(fleet, evidenceOf({ stored }))).toEqual(['acknowledged, but neither stored nor dead-lettered: 1']);
  });

  it('counts readings that were never answered, stored or not', () => {
    const fleet = fleetOf({ attempted: [[1, 10]], acked: [[1, 4]] });
    const { accounting } = audit(fleet, evidenceOf({ stored: [[1, 6]] }));
    expect(accounting).toMatchObject({ stored: 6, neverAcked: 4, balanced: true });
  });

  const acked: Numbers = [[1, 10]];
  it.for<[string, DeviceJournal[], Evidence]>([
    ['stored twice: 1', fleetOf({ attempted: acked, acked }), evidenceOf({ stored: acked, storedTwice: [[4, 4]] })],
    ['stored, but never attempted: 2', fleetOf({ attempted: acked, acked }), evidenceOf({ stored: [[1, 12]] })],
    [
      'refused, but stored: 1',
      fleetOf({ attempted: acked, acked: [[1, 9]], refused: [[10, 10]] }),
      evidenceOf({ stored: acked }),
    ],
    [
      'refused, though valid: 1',
      fleetOf({ attempted: acked, acked: [[1, 9]], refused: [[10, 10]] }, []),
      evidenceOf({ stored: [[1, 9]] }),
    ],
    ['invalid, but acknowledged: 1', fleetOf({ attempted: acked, acked }, [[5, 5]]), evidenceOf({ stored: acked })],
    [
      'stored, but not in the view: 2',
      fleetOf({ attempted: acked, acked }),
      evidenceOf({ stored: acked, inView: [[1, 8]] }),
    ],
    [
      'dead-lettered, though storable: 1',
      fleetOf({ attempted: acked, acked }),
      evidenceOf({ stored: [[1, 9]], deadLettered: [[10, 10]] }),
    ],
    [
      'a replayed dead letter that is not stored: 1',
      fleetOf({ attempted: acked, acked }),
      evidenceOf({ stored: [[1, 9]], replayed: [[9, 10]] }),
    ],
    [
      'neither acknowledged nor refused after all faults were healed: 1',
      fleetOf({ attempted: acked, acked: [[1, 9]] }),
      evidenceOf({ stored: [[1, 9]] }),
    ],
    [
      'a dead letter that names no reading: 3',
      fleetOf({ attempted: acked, acked }),
      evidenceOf({ stored: acked }, { namelessDeadLetters: 3 }),
    ],
    [
      'stored with a content other than was sent: 1',
      fleetOf({ attempted: acked, acked }),
      evidenceOf({ stored: acked }, { altered: ['d-1 (epoch boot) 3'] }),
    ],
  ])('finds: %s', ([rule, fleet, evidence]) => {
    expect(rulesOf(fleet, evidence)).toContain(rule);
  });

  it('finds a stored stream that no device of the fleet sent', () => {
    const evidence = evidenceOf({ stored: [[1, 2]] }, {}, { deviceId: 'stranger', epoch: 'boot' });
    expect(rulesOf(fleetOf({}), evidence)).toEqual(['stored, but never attempted: 2']);
  });
});
