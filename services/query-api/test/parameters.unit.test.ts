import Type from 'typebox';
import { describe, expect, it } from 'vitest';
import { parameterParser } from '../src/parameters.ts';
import { closed } from '../src/route.ts';

const parse = parameterParser(
  'query',
  closed({
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 }),
    order: Type.Enum(['desc', 'asc'], { default: 'desc' }),
    names: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 8 }), { maxItems: 3 })),
    exact: Type.Optional(Type.Boolean()),
    since: Type.Optional(Type.String({ maxLength: 20, examples: ['now-6h'] })),
  }),
);

describe('parameters of a URL', () => {
  it('are converted to the types of their schema, with defaults filled in', () => {
    expect(parse({ limit: '5', names: 'a,b', exact: 'true', since: '' })).toEqual({
      values: { limit: 5, order: 'desc', names: ['a', 'b'], exact: true },
      errors: [],
    });
    expect(parse({ names: ['a', 'b,c'] }).values['names']).toEqual(['a', 'b', 'c']);
  });

  it('are named in the error, each with what is allowed', () => {
    const { errors } = parse({
      limit: '5000',
      order: 'up',
      names: 'a,b,c,d',
      exact: 'maybe',
      since: 'x'.repeat(30),
      limt: '3',
    });
    expect(Object.fromEntries(errors.map(({ field, detail }) => [field, detail]))).toEqual({
      'query.limit': 'is "5000"; expected a whole number from 1 to 1000',
      'query.order': 'is "up"; expected one of desc, asc',
      'query.names': 'is "a,b,c,d"; expected at most 3 values separated by commas, each a text of 1 to 8 characters',
      'query.exact': 'is "maybe"; expected true or false',
      'query.since': `is "${'x'.repeat(30)}"; expected a text like now-6h`,
      'query.limt': 'is unknown; accepted are limit, order, names, exact, since',
    });
  });

  it.each(['', ' ', '1.5', '0x10', '1e2', '-', '99999999999999999999', 'NaN'])(
    'refuse %j as a whole number',
    (text) => {
      const { values, errors } = parse({ limit: text });
      expect(errors.length === 1 || values['limit'] === 100).toBe(true);
      expect(errors).toHaveLength(text === '' ? 0 : 1);
    },
  );

  it.each([
    ['since', '\0', 'query.since'],
    ['since', 'now\ud800', 'query.since'],
    ['names', 'a,b\0', 'query.names'],
  ])('are refused with a NUL character or a lone surrogate: %s', (name, text, field) => {
    expect(parse({ [name]: text }).errors).toEqual([{ field, detail: expect.stringContaining('NUL') }]);
  });

  it('are refused when a single value is given twice', () => {
    expect(parse({ limit: ['1', '2'] }).errors).toEqual([{ field: 'query.limit', detail: 'is given more than once' }]);
  });
});
