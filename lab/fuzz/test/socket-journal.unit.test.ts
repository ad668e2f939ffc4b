import { beforeEach, describe, expect, it } from 'vitest';
import { SocketJournal } from '../socket-journal.ts';

let journal: SocketJournal;
beforeEach(() => {
  journal = new SocketJournal({ deviceId: 'd', epoch: 'e' });
});
const seqs = (entries: readonly { seq: number }[]) => entries.map(({ seq }) => seq);
const frame = (fields: object) => JSON.stringify({ type: 'telemetry', ...fields });

describe('the journal of a fuzzed socket', () => {
  it('takes a reading as acknowledged when an ack covers it and no nack names it', () => {
    journal.sent(frame({ seq: 1, readings: [{}, {}, {}] }));
    journal.nacked(2, 1, {});
    expect(seqs(journal.unanswered)).toEqual([1, 3]);
    journal.acked(3, {});
    expect(journal.unanswered).toEqual([]);
    expect(seqs(journal.takeAcked())).toEqual([1, 3]);
    expect(journal.takeAcked()).toEqual([]);
  });

  it('expects an answer of its own for a reading that was sent again after a nack', () => {
    journal.sent(frame({ seq: 5, metrics: 'bad' }));
    journal.sent(frame({ seq: 5, metrics: { a: 1 } }));
    journal.nacked(5, 1, {});
    expect(seqs(journal.unanswered)).toEqual([5]);
    journal.acked(5, {});
    expect(seqs(journal.takeAcked())).toEqual([5]);
  });

  it('keeps streams apart; one that an answer does not name is the own one', () => {
    journal.sent(frame({ seq: 1 }));
    journal.sent(frame({ seq: 1, device_id: 'other' }));
    journal.sent(frame({ seq: 1, epoch: 'f' }));
    journal.acked(1, { deviceId: 'other' });
    expect(journal.takeAcked()).toMatchObject([{ deviceId: 'other', epoch: 'e', seq: 1 }]);
  });

  it('expects nothing for a frame whose number cannot be read', () => {
    const fields = [
      {},
      { seq: -1 },
      { seq: 1.5 },
      { seq: 1, readings: {} },
      { seq: 1, readings: [] },
      { seq: 1, epoch: 5 },
    ];
    for (const text of ['', '{', '[]', 'null', '{"type":"ping","seq":1}', ...fields.map(frame)]) journal.sent(text);
    journal.acked(10, {});
    expect(journal.unanswered).toEqual([]);
    expect(journal.takeAcked()).toEqual([]);
  });
});
