import { describe, expect, it } from 'vitest';
import { DeviceJournal } from '../device-journal.ts';

function journalOf(sent: number, unsent = 0): DeviceJournal {
  const journal = new DeviceJournal('d-1', 'boot');
  for (let count = 0; count < sent; count += 1) journal.attempted(journal.enter('{}'));
  for (let count = 0; count < unsent; count += 1) journal.enter('{}');
  return journal;
}

describe('the journal of a device', () => {
  it('settles what was sent up to the number of an ack, and nothing that was never sent', () => {
    const journal = journalOf(3, 2);
    journal.acknowledged(5);
    expect([...journal.numbers('acked')]).toEqual([1, 2, 3]);
    expect([...journal.numbers('unsent')]).toEqual([4, 5]);
  });

  it('leaves open what an ack passes over because it was sent on another connection', () => {
    const journal = journalOf(3);
    journal.acknowledged(3, (seq) => seq !== 2);
    expect([...journal.numbers('open')]).toEqual([2]);
    journal.acknowledged(3);
    expect([...journal.numbers('open')]).toEqual([]);
  });

  it('keeps a refused reading refused when a later ack covers it', () => {
    const journal = journalOf(3);
    journal.refused(2, 1);
    journal.acknowledged(3);
    expect([...journal.numbers('refused')]).toEqual([2]);
    expect(journal.contradictions).toEqual([]);
  });

  it('notes answers that the protocol does not allow', () => {
    const journal = journalOf(2, 1);
    journal.acknowledged(9);
    journal.refused(1, 1);
    journal.refused(3, 1);
    expect(journal.contradictions).toEqual([
      'acknowledged up to 9, but 3 is the last',
      'refused 1, which was acknowledged before',
      'refused 3, which was not sent',
    ]);
  });
});
