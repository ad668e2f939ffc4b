import { parseObservation } from '@fleetwire/contracts/reading';
import { findUnstorableText } from '@fleetwire/contracts/json-text';
import { describe, expect, it, test } from 'vitest';
import { viewer } from '../src/format.ts';
import { zone } from '../src/times.ts';
import {
  checkEdit,
  diffLines,
  editableText,
  hexLines,
  markErrors,
  missingIdentity,
} from '../src/views/dead-letters/edit.ts';
import { barsOf, ticksUpTo } from '../src/views/dead-letters/histogram.ts';
import { actionText, auditLines, barOf, deadLetterSentence, stagesOf } from '../src/views/dead-letters/sentences.ts';
import type { Group, Replay } from '../src/views/dead-letters/types.ts';

viewer.locale = 'en-GB';
zone.value = 'Europe/Berlin';
const now = Date.parse('2026-11-21T13:32:10Z');
const group: Group = {
  fingerprint: 'f1',
  reason: 'refused-by-database',
  errorCode: '22P05',
  count: 1_874,
  byStatus: { open: 1_874, replaying: 0, stored: 0, discarded: 0 },
  repeated: 0,
  devices: 31,
  firstSeenAt: '2026-11-21T12:57:00Z',
  lastSeenAt: '2026-11-21T13:32:08Z',
  example: { id: '1', message: 'cannot be converted to text', deviceId: 'frz-0204' },
};
const older: Group = {
  ...group,
  fingerprint: 'f2',
  errorCode: 'RETENTION',
  byStatus: { ...group.byStatus, open: 295 },
};
const yesterday = '2026-11-20T13:00:00Z';
const replay: Replay = {
  id: 'rp-0192',
  source: 'automatic',
  state: 'settling',
  createdBy: 'ops@polar',
  createdAt: '2026-11-21T13:17:02Z',
  finishedAt: null,
  selection: {},
  ratePerSecond: 100,
  counts: { matched: 412, queued: 0, published: 412, stored: 388, failedAgain: 0, unknown: 0, pending: 24 },
};

describe('the sentence of the dead letters', () => {
  test.each<[string, readonly Group[], string, string]>([
    ['none', [], 'ok', 'No reading waits for a decision.'],
    [
      'one cause explains most of them',
      [group, older],
      'warn',
      '2,169 readings wait for a decision. 1,874 of them have one cause, and new ones keep arriving.',
    ],
    [
      'several causes, and no new ones',
      [0, 1, 2].map((n) => ({ ...older, fingerprint: `${n}`, lastSeenAt: yesterday })),
      'warn',
      '885 readings wait for a decision. They have 3 causes.',
    ],
    [
      'one reading',
      [{ ...group, byStatus: { ...group.byStatus, open: 1 }, lastSeenAt: yesterday }],
      'warn',
      '1 reading waits for a decision.',
    ],
    [
      'all are decided',
      [{ ...group, byStatus: { open: 0, replaying: 0, stored: 388, discarded: 1 } }],
      'ok',
      'No reading waits for a decision.',
    ],
  ])('%s', (_, groups, tone, text) => {
    expect(deadLetterSentence(groups, [], now)).toMatchObject({ tone, text });
  });

  it('tells of a replay that runs, in readings that are stored', () => {
    expect(deadLetterSentence([group], [replay], now).detail).toContain(
      '412 readings are being replayed: 388 are stored, 24 pending.',
    );
    expect(deadLetterSentence([group], [{ ...replay, state: 'done' }], now).detail).not.toContain('replayed');
  });
});

describe('a replay', () => {
  it('has a bar that is full only when all of the set is stored', () => {
    expect(barOf(replay)).toEqual({ published: 1, stored: 388 / 412 });
    expect(barOf({ ...replay, counts: { ...replay.counts, stored: 412, pending: 0 } }).stored).toBe(1);
    expect(barOf({ ...replay, counts: { ...replay.counts, matched: 0 } })).toEqual({ published: 0, stored: 0 });
  });

  it('tells its stages, and of a dry run that nothing was published', () => {
    expect(stagesOf(replay).map(({ value, text }) => `${value} ${text}`)).toEqual([
      '412 in the frozen set',
      '412 published',
      '388 stored',
      '0 failed again',
      '24 pending',
    ]);
    expect(stagesOf({ ...replay, state: 'dry-run' })).toEqual([
      { value: 412, text: 'would be published; nothing was' },
    ]);
  });

  test.each([
    [{ action: 'dry-run', details: { filter: { fingerprint: 'f1' } } }, 'dry run of group 22P05'],
    [{ action: 'replay-requested', details: { ids: ['a', 'b'] } }, 'replay of 2 dead letters'],
    [{ action: 'replay-requested', details: { filter: {} } }, 'replay of all dead letters'],
    [{ action: 'discarded', deadLetterId: 'a', details: { reason: 'a test bench' } }, 'discarded 1: “a test bench”'],
    [{ action: 'edited', deadLetterId: 'a', details: { difference: {} } }, 'edited and replayed a copy'],
  ])('stands in the audit trail in words: %j', (action, text) => {
    expect(actionText({ at: '', actor: 'ops', deadLetterId: null, replayId: null, ...action }, [group])).toBe(text);
  });
});

it('the audit trail tells a decision about a group as one line', () => {
  const each = (second: number, reason = 'too old') => ({
    at: `2026-11-21T13:00:0${second}Z`,
    actor: 'ops',
    action: 'discarded',
    deadLetterId: `${second}`,
    replayId: null,
    details: { reason },
  });
  expect(auditLines([each(3), each(2), each(1, 'a test bench')], [])).toEqual([
    { at: '2026-11-21T13:00:03Z', actor: 'ops', text: 'discarded 2: “too old”' },
    { at: '2026-11-21T13:00:01Z', actor: 'ops', text: 'discarded 1: “a test bench”' },
  ]);
});

test('an automatic replay names its groups', () => {
  const action = {
    at: '2026-11-21T13:17:02Z',
    actor: 'fleetwire',
    action: 'replay-requested',
    deadLetterId: null,
    replayId: 'r',
    details: { fingerprints: ['f1', 'f2'] },
  } as unknown as Parameters<typeof actionText>[0];
  expect(actionText(action, [group, older])).toBe('automatic replay of groups 22P05, RETENTION');
});

const known = { deviceId: 'frz-0204', epoch: 'b-91c0', seq: 41_205 };
const payload = {
  encoding: 'json' as const,
  bytes: 184,
  base64: '',
  preview: '',
  truncated: false,
  json: { ...known, ts: '2026-11-21T13:30:43.902Z', metrics: { 'door.label': 'A1\0', compressor: true } },
};

describe('an edited copy', () => {
  it('begins with the part that can be edited; what its identity lacks can be filled in', () => {
    expect(JSON.parse(editableText({ ...known, payload }))).toEqual({
      ts: payload.json.ts,
      metrics: payload.json.metrics,
    });
    const unreadable = { deviceId: null, epoch: null, seq: null };
    expect(missingIdentity(unreadable)).toEqual(['deviceId', 'epoch', 'seq']);
    expect(
      Object.keys(JSON.parse(editableText({ ...unreadable, payload: { ...payload, json: undefined } })) as object),
    ).toEqual(['deviceId', 'epoch', 'seq', 'ts', 'metrics']);
  });

  test.each([
    ['{"ts":1,', 'This is not JSON'],
    ['[]', 'must be an object'],
    ['{"ts":"2026-11-21T13:30:43Z","metrics":{"a":1},"seq":7}', 'seq identifies the reading and cannot be changed'],
    ['{"ts":"2026-11-21T13:30:43Z","metrics":{"a":1},"unit":"C"}', 'unit is not a member'],
    [String.raw`{"ts":"2026-11-21T13:30:43Z","metrics":{"a":"x\u0000"}}`, 'contains a NUL character'],
  ])('is refused while it is typed: %s', (text, says) => {
    expect(checkEdit(text, known, now)).toMatchObject({ ok: false, text: expect.stringContaining(says) });
  });

  // The contract decides on the server; what is said here while typing must not differ from it.
  test.each<unknown>([
    { ts: '2026-11-21T13:30:43.902Z', metrics: { a: 1, b: true, c: 'x', d: { deep: [1] } } },
    { metrics: { a: 1 } },
    { ts: 'yesterday', metrics: { a: 1 } },
    { ts: 1_000, metrics: { a: 1 } },
    { ts: now + 2 * 86_400_000, metrics: { a: 1 } },
    { ts: now },
    { ts: now, metrics: [] },
    { ts: now, metrics: {} },
    { ts: now, metrics: { '': 1 } },
    { ts: now, metrics: { ['n'.repeat(129)]: 1 } },
    { ts: now, metrics: { 'a\u0007': 1 } },
    { ts: now, metrics: { 'a\u0085': 1 } },
    { ts: now, metrics: { constructor: 1 } },
    { ts: now, metrics: { a: null } },
    { ts: now, metrics: { a: [1] } },
    { ts: now, metrics: { a: 'x'.repeat(1_025) } },
    { ts: now, metrics: { a: 'x'.repeat(1_024) } },
    { ts: now, metrics: { a: { text: 'x'.repeat(5_000) } } },
    { ts: now, metrics: { a: { b: { c: { d: { e: { f: { g: 1 } } } } } } } },
    { ts: now, metrics: { a: { b: { c: { d: { e: { f: 1 } } } } } } },
    { ts: now, metrics: { a: { constructor: 1 } } },
    { ts: now, metrics: Object.fromEntries(Array.from({ length: 257 }, (_, n) => [`m${n}`, n])) },
    { ts: now, metrics: { a: 'x\0' } },
  ])('is judged as the contract judges it: %j', (value) => {
    const byContract = findUnstorableText('', value) === undefined && parseObservation(value, now, true).ok;
    expect(checkEdit(JSON.stringify(value), known, now).ok).toBe(byContract);
  });

  it('is shown as the lines that differ', () => {
    const kinds = (before: string, after: string) =>
      diffLines(before, after).map(({ kind, text }) => `${{ same: ' ', removed: '-', added: '+' }[kind]}${text}`);
    expect(kinds('a\nb\nc', 'a\nx\nc')).toEqual([' a', '-b', '+x', ' c']);
    expect(kinds('a\nb', 'a\nb\nc')).toEqual([' a', ' b', '+c']);
    expect(kinds('a', 'a')).toEqual([' a']);
  });
});

describe('a payload', () => {
  it('has its error marked: text that cannot be stored, and what the message quotes', () => {
    const marked = (text: string, message: string) =>
      markErrors(text, message)
        .map((part) => (part.isError ? `[${part.text}]` : part.text))
        .join('');
    expect(marked(String.raw`"label": "A1\u0000"`, 'cannot be converted to text')).toBe(
      String.raw`"label": "A1[\u0000]"`,
    );
    expect(marked('"speed": "fast"', 'invalid input syntax for type double: "fast"')).toBe('"speed": "[fast]"');
    expect(marked('"speed": 1', 'metrics.speed is too large')).toBe('"[speed]": 1');
    expect(marked('a\u202Eb', 'no')).toBe(String.raw`a\u202eb`);
  });

  it('that is not a reading is shown as bytes', () => {
    expect(hexLines(btoa('\u001f\u008bhi'))).toEqual([`0000  1f 8b 68 69${' '.repeat(36)}  ..hi`]);
  });
});

describe('failures over time', () => {
  it('have a bar for each interval, with those of the selected group apart from the others', () => {
    const answer = {
      from: '2026-11-21T13:00:00.000Z',
      to: '2026-11-21T13:15:00.000Z',
      intervalSeconds: 300,
      data: [
        { fingerprint: 'f1', counts: [{ at: '2026-11-21T13:05:00.000Z', count: 7 }] },
        {
          fingerprint: 'f2',
          counts: [
            { at: '2026-11-21T13:05:00.000Z', count: 2 },
            { at: '2026-11-21T13:10:00.000Z', count: 1 },
          ],
        },
      ],
    };
    expect(barsOf(answer, 'f1').map(({ own, others }) => [own, others])).toEqual([
      [0, 0],
      [7, 2],
      [0, 1],
    ]);
  });

  test.each([
    [0, [0, 1]],
    [3, [0, 1, 2, 3]],
    [7, [0, 5, 10]],
    [605, [0, 500, 1_000]],
  ])('have round marks up to %j', (most, ticks) => {
    expect(ticksUpTo(most)).toEqual(ticks);
  });
});
