import fc from 'fast-check';
import { Members, Verbatim, type JsonTree } from './json-tree.ts';

const long = (characters: number) => 'x'.repeat(characters);

/** Texts that break careless code: in databases, URLs, prototypes, templates, number and date parsers. */
export const nastyTexts: readonly string[] = [
  ['', ' ', '\0', 'a\0b', '\ud800', 'a\udc00b', '\ud83d\udca5', '\ufeff', '\u202e', '\u0130', '\uffff', 'a\tb', 'a\nb'],
  ['\r\nX-Injected: 1', '%', '%00', '_', '\\', '\\u0000', '"', "'", "'; drop table readings; --", "' or '1'='1"],
  ['../../etc/passwd', '..', '.', '/', '//', '?', '#', ';', '<script>', '${7*7}', '{{7*7}}', 'null', 'undefined'],
  ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'true', '[object Object]', '[]', '{}'],
  ['NaN', 'Infinity', '-0', '-1', '0', '1e400', '0x10', '1.5', '9007199254740993', '99999999999999999999999'],
  ['2026-02-30T00:00:00Z', '0000-01-01T00:00:00Z', '+275760-09-13T00:00:00Z', '-000001-01-01T00:00:00Z'],
  ['now', 'now-', 'now-0s', 'now-999999999999999d', 'now+9999999999w', '8640000000000001', '-8640000000000000'],
  ['eyJ0IjoxfQ', 'bnVsbA', long(65), long(129), long(1_025)],
].flat();

const veryLongText = long(20_000);

/** Number literals at and past the limits of doubles, safe integers, int4 and int8, and some that are not JSON. */
const nastyNumbers: readonly string[] = [
  ['-0', '0', '-1', '1.0', '0.5', '5e-324', '1e308', '1e400', '-1e400', '1e21', '2147483648', '-2147483649'],
  ['9007199254740990', '9007199254740991', '9007199254740992', '9223372036854775808', '1234567890123456789012345'],
  ['NaN', 'Infinity', '01', '+1', '.5', '0x10', '1_000'],
].flat();

const nest = (open: string, levels: number, close: string) =>
  new Verbatim(`${open.repeat(levels)}0${close.repeat(levels)}`);

const brokenStrings = [
  '"\\ud800"',
  '"\\u0000"',
  '"\\udc00\\ud800"',
  '"\\x"',
  '"\t"',
  "'a'",
  '"a',
  '[1,]',
  '{"a":1,}',
  '/**/1',
];
const levels = [6, 17, 200, 20_000];

const nastyTrees: readonly JsonTree[] = [
  null,
  true,
  false,
  [],
  new Members([]),
  [[]],
  [null],
  veryLongText,
  ...[...nastyNumbers, ...brokenStrings].map((text) => new Verbatim(text)),
  ...levels.flatMap((each) => [nest('[', each, ']'), nest('{"a":', each, '}')]),
  new Members([['__proto__', new Members([['isAdmin', true]])]]),
  new Members([['constructor', new Members([['prototype', new Members([['isAdmin', true]])]])]]),
  new Members([['toJSON', 1]]),
  new Members([['length', 1_000_000_000]]),
];

export const nastyText: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...nastyTexts) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
);

export const nastyTree: fc.Arbitrary<JsonTree> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...nastyTrees) },
  { weight: 2, arbitrary: nastyText },
);

const brokenBytes = ['ff', 'c080', 'eda080', 'f4908080', '80', '00', 'efbbbf', 'e2', '0d0a', '22', '7b7b7b'].map(
  (hex) => Buffer.from(hex, 'hex'),
);

/** Changes bytes of an encoded text: cuts it, repeats a part, inserts bytes that are not UTF-8. Most texts stay whole. */
export const damage: fc.Arbitrary<(text: Buffer) => Buffer> = fc.oneof(
  { weight: 20, arbitrary: fc.constant((text: Buffer) => text) },
  { weight: 1, arbitrary: share().map((at) => (text: Buffer) => text.subarray(0, Math.floor(text.length * at))) },
  {
    weight: 1,
    arbitrary: fc.tuple(share(), fc.constantFrom(...brokenBytes)).map(([at, bytes]) => (text: Buffer) => {
      const index = Math.floor(text.length * at);
      return Buffer.concat([text.subarray(0, index), bytes, text.subarray(index)]);
    }),
  },
  {
    weight: 1,
    arbitrary: share().map(
      (at) => (text: Buffer) => Buffer.concat([text, text.subarray(Math.floor(text.length * at))]),
    ),
  },
);

function share(): fc.Arbitrary<number> {
  return fc.double({ min: 0, max: 1, noNaN: true });
}
