import type { ServerMessage } from '@fleetwire/contracts/device-protocol';
import { type StoredNotice, storedNoticeType } from '@fleetwire/contracts/stored-notice';
import { createRegistry } from '@fleetwire/runtime/metrics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AwaitedRun, AwaitingStored } from '../src/awaiting-stored.ts';
import { createIngestMetrics } from '../src/metrics.ts';
import type { SessionContext } from '../src/session-context.ts';
import { SessionStreams, type Stream } from '../src/session-streams.ts';
import { StoredAnswers } from '../src/stored-answers.ts';
import { StreamHistory } from '../src/stream-history.ts';
import { SubjectShares } from '../src/subject-shares.ts';

const shares = new SubjectShares({
  bytesInFlightMax: 1,
  isLimited: true,
  streamsMax: 10_000,
  deviceStreamsMax: 1_000,
});
const own = { deviceId: 'd', epoch: 'e' };

function edge(runsMax = 1_000) {
  const metrics = createIngestMetrics(createRegistry());
  const awaiting = new AwaitingStored({ runsMax, isRecovered: true, metrics });
  const open = (deviceId = own.deviceId) => {
    const messages: ServerMessage[] = [];
    const claims = { sub: deviceId, role: 'device' } as const;
    const history = new StreamHistory({ streamsMax: 10 });
    // An earlier session saw 3 confirmed.
    history.remember(deviceId, own.epoch, 3);
    const share = shares.open(claims);
    const streams = new SessionStreams({ own: { deviceId, epoch: own.epoch }, history, share, isStoredAsked: true });
    const scheduleAck = (stream: Stream): void => {
      streams.noteChanged(stream);
      messages.push(...streams.nextAcks());
    };
    const answers = new StoredAnswers({
      id: deviceId,
      ordinal: 1,
      claims,
      caller: { claims, key: undefined, token: undefined },
      isPlain: false,
      epoch: own.epoch,
      outbound: { send: (message: ServerMessage) => void messages.push(message) } as never,
      streams,
      share,
      stored: undefined,
      context: { awaiting, metrics } as unknown as SessionContext,
      scheduleAck,
    });
    const stream = streams.find(deviceId, own.epoch) as Stream;
    const receive = (first: number, last = first) => {
      const range = stream.acks.begin(first, last);
      return { range, awaited: answers.await(stream, range) };
    };
    const accept = ({ range }: Pick<AwaitedRun, 'range'>): void => {
      stream.acks.settle(range);
      scheduleAck(stream);
    };
    const nack = ({ range }: Pick<AwaitedRun, 'range'>): void => {
      stream.acks.awaitResend(range);
      streams.noteChanged(stream);
    };
    return { messages, answers, stream, receive, accept, nack };
  };
  return { awaiting, open };
}

function notice(numbers: readonly number[], dead: readonly { number: number; seq: number }[] = []): StoredNotice {
  const letters = dead.map((one) => ({ ...own, ...one, reason: 'r', message: 'm', deadLetterId: 'l' }));
  return { type: storedNoticeType, committedAt: 0, numbers: [...numbers], dead: letters, conflicting: [] };
}

const step = fc.record({
  /** New readings, or those from an earlier number on again. */
  resendFrom: fc.option(fc.nat(30), { freq: 3 }),
  count: fc.integer({ min: 1, max: 3 }),
  /** How its envelope ends at the edge, after so many further steps. */
  end: fc.constantFrom('confirmed', 'confirmed', 'confirmed', 'uncertain', 'unsent'),
  endAfter: fc.nat(4),
  isOverdue: fc.boolean(),
  isCommitted: fc.boolean(),
  commitAfter: fc.nat(6),
  dead: fc.array(fc.nat(2), { maxLength: 1 }),
  isNoticeLost: fc.boolean(),
  isFoundAfter: fc.nat(6),
});

describe('readings that await their commit', () => {
  it('are told as stored only when committed, or reported as dead, whatever is lost, late, nacked or sent again', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const { awaiting, open } = edge();
        const session = open();
        const [committed, received, dead] = [new Set<number>(), new Set<number>(), new Set<number>()];
        const due = new Map<number, (() => void)[]>();
        const at = (time: number, work: () => void): void => void due.set(time, [...(due.get(time) ?? []), work]);
        let [next, read] = [1, 0];
        const check = (): void => {
          for (const message of session.messages.slice(read)) {
            if (message.type === 'dead') dead.add(message.seq);
            if (message.type !== 'stored') continue;
            const claimed = [...received].filter((seq) => seq <= message.upTo);
            expect(claimed.filter((seq) => !committed.has(seq) && !dead.has(seq))).toEqual([]);
          }
          read = session.messages.length;
        };
        for (const [time, one] of steps.entries()) {
          const number = time + 1;
          const first = one.resendFrom === null ? next : Math.min(1 + one.resendFrom, next);
          const last = first + one.count - 1;
          next = Math.max(next, last + 1);
          for (let seq = first; seq <= last; seq += 1) received.add(seq);
          const submission = session.receive(first, last);
          expect(awaiting.begin(number, [submission])).toBe(true);
          const deadSeqs = one.dead.map((offset) => first + offset).filter((seq) => seq <= last);
          const letters = deadSeqs.map((seq) => ({ number, seq }));
          if (one.isOverdue) session.nack(submission);
          at(time + one.endAfter, () => {
            const isConfirmed = one.end === 'confirmed';
            if (isConfirmed && !one.isOverdue) session.accept(submission);
            if (!isConfirmed && !one.isOverdue) session.nack(submission);
            awaiting.answered(number, isConfirmed);
          });
          if (one.end === 'unsent' || (one.end === 'uncertain' && !one.isCommitted)) continue;
          at(time + one.commitAfter, () => {
            for (let seq = first; seq <= last; seq += 1) if (!deadSeqs.includes(seq)) committed.add(seq);
            if (!one.isNoticeLost) return awaiting.receive(notice([number], letters));
            at(time + one.commitAfter + 1 + one.isFoundAfter, () => {
              for (const late of awaiting.late(-1))
                if (late.number === number)
                  awaiting.found(
                    late.run,
                    letters.map((letter) => ({ ...own, ...letter, reason: 'r', message: 'm' })),
                  );
            });
          });
          for (const work of due.get(time) ?? []) work();
          due.delete(time);
          check();
        }
        for (let time = steps.length; time < steps.length + 20; time += 1) {
          for (const work of due.get(time) ?? []) work();
          check();
        }
      }),
      { numRuns: 500 },
    );
  });

  it('are told once all are stored: the notice may come before the confirm', () => {
    const { awaiting, open } = edge();
    const { messages, receive, accept } = open();
    const [one, two] = [receive(1), receive(2)];
    awaiting.begin(1, [one]);
    awaiting.begin(2, [two]);
    accept(one);
    awaiting.answered(1, true);
    awaiting.receive(notice([2]));
    awaiting.receive(notice([1]));
    accept(two);
    awaiting.answered(2, true);
    expect(messages).toEqual([
      { type: 'ack', upTo: 1 },
      { type: 'stored', upTo: 1 },
      { type: 'ack', upTo: 2 },
      { type: 'stored', upTo: 2 },
    ]);
    expect(awaiting.late(-1)).toEqual([]);
  });

  it('that an earlier session had acknowledged hold stored back while they are nacked, and the ack not', () => {
    const { awaiting, open } = edge();
    const { messages, receive, accept, nack } = open();
    nack(receive(2));
    const next = receive(4);
    awaiting.begin(1, [next]);
    accept(next);
    awaiting.answered(1, true);
    awaiting.receive(notice([1]));
    expect(messages).toEqual([{ type: 'ack', upTo: 4 }]);
    const again = receive(2);
    awaiting.begin(2, [again]);
    accept(again);
    awaiting.answered(2, true);
    awaiting.receive(notice([2]));
    expect(messages.slice(1)).toEqual([
      { type: 'ack', upTo: 4 },
      { type: 'stored', upTo: 4 },
    ]);
  });

  it('that were nacked as overdue are not reported as dead by the envelope that was confirmed too late: the device sends them again', () => {
    const { awaiting, open } = edge();
    const { messages, receive, accept, nack } = open();
    const overdue = receive(1);
    awaiting.begin(1, [overdue]);
    nack(overdue);
    awaiting.answered(1, true);
    awaiting.receive(notice([1], [{ number: 1, seq: 1 }]));
    expect(messages).toEqual([]);
    const again = receive(1);
    awaiting.begin(2, [again]);
    accept(again);
    awaiting.answered(2, true);
    awaiting.receive(notice([2], [{ number: 2, seq: 1 }]));
    expect(messages).toMatchObject([
      { type: 'ack', upTo: 1 },
      { type: 'dead', seq: 1 },
      { type: 'stored', upTo: 1 },
    ]);
  });

  it('are bounded: the session with most of them gets acks alone, and says so; new ones too while there is no room', () => {
    const { awaiting, open } = edge(10);
    const [few, many] = [open('few'), open('many')];
    for (let number = 1; number <= 3; number += 1) awaiting.begin(number, [few.receive(number)]);
    for (let number = 4; number <= 10; number += 1) awaiting.begin(number, [many.receive(number)]);
    expect(awaiting.hasRoom).toBe(false);
    const last = few.receive(4);
    awaiting.begin(11, [last]);
    expect(many.messages).toMatchObject([{ type: 'acks', acks: 'confirmed' }]);
    expect(awaiting.hasRoom).toBe(true);
    many.accept(many.receive(11));
    expect(many.messages.slice(1)).toMatchObject([]);
    few.accept(last);
    awaiting.answered(11, true);
    expect(few.messages).toEqual([]);
    few.answers.end();
    expect(awaiting.isAsked).toBe(false);
    expect(awaiting.begin(12, [few.receive(5)])).toBe(false);
  });
});
