import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { answerClass } from '../answer-class.ts';
import { apiInputs, telemetryInputs } from '../http-inputs.ts';
import { FreshSeq, Members, Verbatim, jsonText } from '../json-tree.ts';
import { readApiDescription } from '../openapi.ts';
import { promisedBy } from '../promised-by-http.ts';

describe('inputs', () => {
  it('cover every operation of the API document', async () => {
    const api = await readApiDescription();
    const seen = new Set(
      [apiInputs(api), telemetryInputs(api)].flatMap((inputs) =>
        fc.sample(inputs, { seed: 1, numRuns: 1_000 }).map(({ operation }) => operation),
      ),
    );
    seen.delete('another path');
    expect([...seen].toSorted()).toEqual(api.operations.map(({ method, path }) => `${method} ${path}`).toSorted());
  });

  it('are written as JSON that no serialiser would produce', () => {
    const tree = new Members([
      ['a', new Verbatim('-0')],
      ['a', [new FreshSeq(2), '\ud800']],
      ['__proto__', null],
    ]);
    expect(jsonText(tree, 40)).toBe('{"a":-0,"a":[42,"\\ud800"],"__proto__":null}');
  });
});

describe('an answer', () => {
  const answer = (status: number, body: object, headers = {}) => ({ status, headers, body: JSON.stringify(body) });

  it('with 503 is a limit only if it names one and says when to try again', () => {
    const named = { detail: 'This instance has 20000 sockets open, its limit (connectionsMax)' };
    expect(answerClass(answer(503, named, { 'retry-after': '5' }))).toBe('503 limit');
    expect(answerClass(answer(503, named))).toBe('5xx');
    expect(answerClass(answer(503, { detail: 'The database is unavailable' }, { 'retry-after': '1' }))).toBe('5xx');
  });

  it('promises the identities of a 202, and with a 422 the elements that it does not name', () => {
    const streams = [{ deviceId: 'd', epoch: 'e', firstSeq: 3, lastSeq: 4 }];
    expect(promisedBy(Buffer.from('{}'), answer(202, { streams }), 'own')).toEqual([
      ['d', 'e', 3],
      ['d', 'e', 4],
    ]);
    const body = Buffer.from(
      JSON.stringify([{ seq: 1, epoch: 'e' }, { seq: 2, epoch: 'e', deviceId: 'x' }, { seq: 3 }, null]),
    );
    const refused = answer(422, { accepted: 1, errors: [{ field: '[0].ts' }, { field: '[3]' }] });
    expect(promisedBy(body, refused, 'own')).toEqual([['x', 'e', 2]]);
  });
});
