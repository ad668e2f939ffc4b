import { expect, it } from 'vitest';
import { auditCommands } from '../audit-commands.ts';
import { CommandJournal } from '../command-journal.ts';
import type { SentCommand, ShownCommand } from '../command-operator.ts';

const dispatchedAt = Date.parse('2026-11-22T12:00:00.000Z');
const at = (ms: number): string => new Date(dispatchedAt + ms).toISOString();

const sentOne: SentCommand = {
  key: 'one-1',
  deviceId: 'd-1',
  command: 'apply',
  mode: 'now',
  timeoutMs: 2_000,
  status: 202,
  id: 'c-1',
};

const shownOne: ShownCommand = {
  id: 'c-1',
  deviceId: 'd-1',
  command: 'apply',
  args: { key: 'one-1' },
  mode: 'now',
  state: 'succeeded',
  job: null,
  timeoutMs: 2_000,
  expiresAt: at(2_000),
  attempts: 1,
  createdAt: at(-100),
  deliveredAt: null,
  finishedAt: at(500),
  result: 'done',
  error: null,
  lateResult: null,
};

interface Frame {
  readonly attempt?: number;
  readonly connection?: number;
  readonly dispatchedAfterMs?: number;
  readonly args?: unknown;
  readonly id?: string;
}

function audited({
  sent = {},
  shown = {},
  frames = [{}],
  answer = 'done',
  isSecond = false,
  isKept = false,
}: {
  sent?: Partial<SentCommand>;
  shown?: Partial<ShownCommand> | null;
  frames?: readonly Frame[];
  /** An object is the error of a failure; null: none. */
  answer?: string | { readonly code: string } | null;
  isSecond?: boolean;
  isKept?: boolean;
}) {
  const journal = new CommandJournal('d-1');
  for (const { attempt = 1, connection = 1, dispatchedAfterMs = 0, args = { key: 'one-1' }, id = 'c-1' } of frames)
    journal.deliveries.push({
      id,
      command: 'apply',
      args,
      attempt,
      connection,
      expiresAt: at(dispatchedAfterMs + 2_000),
      at: dispatchedAt,
    });
  if (answer !== null) {
    const outcome = typeof answer === 'string' ? { ok: true, result: answer } : { ok: false, error: answer };
    journal.answered({ id: 'c-1', ...outcome, isSecond, connection: 1 });
    if (isKept) journal.acknowledged(1, performance.now() + 10_000);
  }
  const { breaches } = auditCommands({
    sent: [{ ...sentOne, ...sent }],
    shown: shown === null ? [] : [{ ...shownOne, ...shown }],
    jobs: new Map(),
    journals: [journal],
  });
  return breaches.map(({ rule }) => rule.replace(': 1 commands', ''));
}

const noResult = { result: null, state: 'timed-out' };
const whenOnline = { mode: 'when-online' } as const;

it('finds no breach in commands that were answered, lost their answer, or came again in the mode when-online', () => {
  expect(audited({})).toEqual([]);
  expect(audited({ shown: noResult })).toEqual([]);
  expect(audited({ shown: { ...noResult, lateResult: { ok: true, result: 'done' } }, isKept: true })).toEqual([]);
  // Answered on a later connection, perhaps to another edge.
  expect(audited({ shown: noResult, frames: [{ connection: 2 }], isKept: true })).toEqual([]);
  const again = [{}, { attempt: 2, connection: 2, dispatchedAfterMs: 300 }];
  expect(audited({ sent: whenOnline, shown: { ...whenOnline, attempts: 2 }, frames: again })).toEqual([]);
  expect(audited({ sent: { status: 409, code: 'device-offline' }, shown: null, frames: [], answer: null })).toEqual([]);
});

it('names what is delivered too often, after its end, or to another device', () => {
  const twice = [{}, { attempt: 2, connection: 2 }];
  expect(audited({ frames: twice })).toEqual(['of the mode now, and reached a socket more than once']);
  const sameAttempt = [{}, {}];
  expect(audited({ sent: whenOnline, shown: whenOnline, frames: sameAttempt })).toEqual([
    'the same attempt came twice on one connection',
  ]);
  const late = [{}, { attempt: 2, connection: 2, dispatchedAfterMs: 6_000 }];
  expect(audited({ sent: whenOnline, shown: { ...whenOnline, attempts: 2 }, frames: late })).toEqual([
    'dispatched after its end',
  ]);
  expect(audited({ frames: [{ args: { key: 'one-2' } }] })).toEqual([
    'a device got the command of another, or with other content',
  ]);
  expect(audited({ frames: [{}, { id: 'c-2' }] })).toEqual(['a device got a command that was never sent']);
  const refused = { ...noResult, state: 'failed', error: { code: 'device-offline' }, finishedAt: at(-100) };
  expect(audited({ shown: refused, answer: null })).toEqual(['refused when it was made, but sent']);
});

it('names answers that are lost, altered or invented', () => {
  expect(audited({ shown: noResult, isKept: true })).toEqual(['the answer of the device is not shown']);
  expect(audited({ answer: 'other' })).toEqual(['the result is not what the device answered']);
  expect(audited({ isSecond: true })).toEqual(['the result is not what the device answered']);
  expect(audited({ shown: { ...noResult, lateResult: { ok: true, result: 'x' } } })).toEqual([
    'the late result is not what the device answered',
  ]);
  expect(audited({ shown: { ...noResult, deliveredAt: at(10) }, answer: null })).toEqual([
    'shown as delivered, but its device neither confirmed nor answered it',
  ]);
});

it('names commands that are lost, invented or not ended, and operators who were told something else', () => {
  expect(audited({ shown: null, frames: [], answer: null })).toEqual(['an accepted command is not shown']);
  expect(audited({ shown: { state: 'sent', finishedAt: null, result: null } })).toEqual([
    'not ended after all faults were healed',
  ]);
  expect(audited({ shown: { timeoutMs: 1 } })).toEqual(['shown, but never sent by the operator']);
  expect(audited({ sent: { status: 422 } })).toEqual(['a valid command was refused']);
  expect(audited({ sent: { told: { state: 'succeeded', result: 'other', error: null } } })).toEqual([
    'an operator who waited was told another end than is shown',
  ]);
  const told = { state: 'succeeded', result: 'done', error: null };
  const unheard = { ...noResult, state: 'failed', error: { code: 'device-offline' } };
  // The instance that had the device was heard too late.
  expect(audited({ sent: { told }, shown: { ...unheard, lateResult: { ok: true, result: 'done' } } })).toEqual([]);
  const jammed = { code: 'jammed' };
  const toldFailed = { state: 'failed', result: null, error: jammed };
  const heardLate = { ...unheard, lateResult: { ok: false, error: jammed } };
  expect(audited({ sent: { told: toldFailed }, shown: heardLate, answer: jammed })).toEqual([]);
  expect(audited({ sent: { told }, shown: unheard })).toEqual([
    'an operator who waited was told another end than is shown',
  ]);
  expect(audited({ sent: { cancelStatus: 200 } })).toEqual(['cancelled, as the operator was told, but it is not']);
});
