import { createHash } from 'node:crypto';
import { badRequest, type Problem } from '@fleetwire/runtime/problem';
import Type, { type Static, type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { instantMaxMs } from './time-range.ts';

/** A cursor as clients see it: opaque, and valid for the query that returned it. */
export const Cursor = Type.String({
  minLength: 1,
  maxLength: 8_000,
  description: '`page.next` of the previous page, unchanged: it is signed',
});

/** Members of positions, bounded as their columns in Postgres are. */
export const positionFields = {
  instant: Type.Integer({ minimum: 0, maximum: instantMaxMs }),
  key: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 }),
  number: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
};

export interface CursorCodec<T> {
  encode(query: object, position: T): string;
  /** @throws {Problem} 400 when the text is not a cursor, or is one of another query */
  decode(query: object, text: string): T;
}

/** Keyset cursors that hold `position` and a hash of their query; `limit` may change between pages. The router signs them. */
export function cursorCodec<S extends TSchema>(Position: S): CursorCodec<Static<S>> {
  const content = Compile(Type.Object({ query: Type.String(), position: Position }));
  return {
    encode: (query, position) => Buffer.from(JSON.stringify({ query: hashOf(query), position })).toString('base64url'),
    decode: (query, text) => {
      const parsed = parse(text);
      if (!content.Check(parsed)) throw cursorRefusal('is not a cursor of this API');
      const { query: hash, position } = parsed as unknown as { query: string; position: Static<S> };
      if (hash !== hashOf(query))
        throw cursorRefusal(
          'belongs to another query; use it with the parameters of the page that returned it, or start without a cursor',
        );
      return position;
    },
  };
}

function hashOf(query: object): string {
  const filters = Object.entries(query).filter(
    ([name, value]) => name !== 'limit' && name !== 'cursor' && value !== undefined,
  );
  filters.sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(filters)).digest('base64url').slice(0, 16);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}

export function cursorRefusal(detail: string): Problem {
  return badRequest(`The cursor ${detail}`, [{ field: 'query.cursor', detail }]);
}
