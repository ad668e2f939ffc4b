import Type from 'typebox';
import { describe, expect, it } from 'vitest';
import { cursorCodec } from '../src/cursor.ts';

const cursors = cursorCodec(Type.Object({ ts: Type.Number() }));
const query = { list: 'readings', id: 'pump-1', from: 'now-6h', metrics: ['a', 'b'], limit: 10 };
const refusal = expect.objectContaining({ status: 400, errors: [expect.objectContaining({ field: 'query.cursor' })] });

describe('a cursor', () => {
  it('returns its position in the same query, for any page size', () => {
    const cursor = cursors.encode(query, { ts: 42 });
    expect(cursors.decode({ ...query, limit: 99, cursor }, cursor)).toEqual({ ts: 42 });
  });

  it.each([{ id: 'pump-2' }, { from: 'now-7h' }, { metrics: ['a'] }, { order: 'asc' }, { list: 'devices' }])(
    'is refused with another query: %j',
    (change) => {
      expect(() => cursors.decode({ ...query, ...change }, cursors.encode(query, { ts: 42 }))).toThrow(refusal);
    },
  );

  it.each(['x', '🙂', 'bnVsbA', Buffer.from('{"query":"","position":{"ts":"1"}}').toString('base64url')])(
    'is refused if it is not one of this API: %s',
    (text) => {
      expect(() => cursors.decode(query, text)).toThrow(refusal);
    },
  );
});
