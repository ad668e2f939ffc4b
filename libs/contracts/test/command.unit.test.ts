import { describe, expect, it } from 'vitest';
import {
  type CommandDispatch,
  type CommandOutcome,
  decodeCommandDispatch,
  decodeCommandOutcome,
  encodeCommandDispatch,
  encodeCommandOutcome,
  issueOfArgs,
  issueOfResult,
} from '../src/command.ts';
import { parseControl, parseControlReceived, parseControlResult } from '../src/command-frames.ts';
import { limits } from '../src/limits.ts';

const id = '019aa5f0-0000-7000-8000-000000000001';
const attributes = { schemaVersion: '1.0', occurredAt: 1_790_000_000_000, deviceId: 'press-7', attempt: 1 };
const dispatch: CommandDispatch = {
  ...attributes,
  id,
  type: 'command.dispatch',
  command: 'set_threshold',
  args: { min: 22, max: [28, null] },
  deadlineAt: 1_790_000_005_000,
  replyTo: null,
};
const outcome: CommandOutcome = {
  ...attributes,
  id: 'message-1',
  type: 'command.outcome',
  commandId: id,
  edge: 'in-1',
  outcome: 'failed',
  error: { code: 'busy', message: 'a job is running' },
};
const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const codeOf = (parsed: { ok: boolean; issue?: { code: string } }) => parsed.issue?.code;

describe('messages of commands', () => {
  it('are read as they were written', () => {
    expect(decodeCommandDispatch(encodeCommandDispatch(dispatch))).toEqual({ ok: true, value: dispatch });
    expect(decodeCommandOutcome(encodeCommandOutcome(outcome))).toEqual({ ok: true, value: outcome });
  });

  it.each<[string, object, string]>([
    ['a newer major', { schemaVersion: '2.0' }, 'unsupported-version'],
    ['no deadline', { deadlineAt: undefined }, 'missing-field'],
    ['no args', { args: undefined }, 'missing-field'],
    ['a name with a space', { command: 'set threshold' }, 'wrong-type'],
    ['a reply key with a dot', { replyTo: 'q.1' }, 'wrong-type'],
    ['attempt 0', { attempt: 0 }, 'limit-exceeded'],
  ])('refuses a dispatch with %s', (_, change, code) => {
    expect(codeOf(decodeCommandDispatch(bytes({ ...dispatch, ...change })))).toBe(code);
  });

  it('refuses an outcome of an unknown kind', () => {
    expect(codeOf(decodeCommandOutcome(bytes({ ...outcome, outcome: 'lost' })))).toBe('wrong-type');
  });

  it('refuses arguments and results over their bound, deeper than 16 levels, or that Postgres cannot store, with the limit and its name', () => {
    expect(issueOfArgs('x'.repeat(limits.commandArgsBytesMax - 2))).toBeUndefined();
    expect(issueOfArgs('é'.repeat(limits.commandArgsBytesMax / 2))).toEqual({
      code: 'limit-exceeded',
      field: 'args',
      message: 'args has 16386 bytes of JSON; at most 16384 are allowed (COMMAND_ARGS_BYTES_MAX)',
    });
    expect(issueOfResult('x'.repeat(limits.commandResultBytesMax - 1))).toMatchObject({ code: 'limit-exceeded' });
    expect(issueOfArgs({ note: 'a\0b' })).toMatchObject({ code: 'unstorable-text', field: 'args.note' });
    let nested: unknown = 1;
    for (let level = 0; level < 17; level += 1) nested = [nested];
    expect(issueOfArgs(nested)).toMatchObject({ code: 'limit-exceeded' });
  });
});

describe('answers of a device', () => {
  it('are accepted with any JSON as result, and refused over 64 KiB', () => {
    expect(parseControlReceived({ type: 'control-received', id })).toMatchObject({ ok: true, value: { id } });
    const result = (members: object) => parseControlResult({ type: 'control-result', id, ...members });
    expect(result({ ok: true, result: { applied: true } })).toMatchObject({ ok: true });
    expect(result({ ok: true })).toMatchObject({ ok: true });
    expect(result({ ok: false, error: { code: 'busy' } })).toMatchObject({ ok: true });
    expect(codeOf(result({ ok: true, result: 'x'.repeat(limits.commandResultBytesMax) }))).toBe('limit-exceeded');
    expect(codeOf(result({ ok: 'yes' }))).toBe('wrong-type');
    expect(codeOf(result({ ok: false, error: 'busy' }))).toBe('wrong-type');
    expect(codeOf(result({ ok: false, error: { code: 'a\0' } }))).toBe('unstorable-text');
  });
});

describe('a control of a client', () => {
  it('is accepted with a device or a pattern as target, and refused over its bounds', () => {
    const frame = { type: 'control', target: 'press-*', command: 'reboot', mode: 'when-online' };
    expect(parseControl(frame)).toMatchObject({ ok: true, value: { target: 'press-*', command: 'reboot' } });
    expect(codeOf(parseControl({ ...frame, args: 'x'.repeat(20_000) }))).toBe('limit-exceeded');
    expect(codeOf(parseControl({ type: 'control', command: 'reboot' }))).toBe('missing-field');
    expect(codeOf(parseControl({ ...frame, target: 'x'.repeat(129) }))).toBe('limit-exceeded');
    // No URL can be made of the first; the others would name another route.
    for (const target of ['\ud800', '..', '.', 'a/b', 'a b', 'ä'])
      expect(parseControl({ ...frame, target })).toMatchObject({ ok: false, issue: { field: 'target' } });
    expect(codeOf(parseControl({ ...frame, id: 'not in\r\na header' }))).toBe('wrong-type');
  });
});
