import { expect, it } from 'vitest';
import { untestedAnswers } from '../untested-answers.ts';

it('names the documented answers that no test got', () => {
  const document = {
    paths: {
      '/a': { get: { operationId: 'readA', responses: { 200: {}, 404: {} } } },
      '/b': { post: { operationId: 'writeB', responses: { 201: {} } } },
    },
  };
  expect(untestedAnswers(document, 'readA 200\nreadA 200\nwriteB 20\n')).toEqual([
    'UNTESTED GET /a 404',
    'UNTESTED POST /b 201',
  ]);
  expect(untestedAnswers(document, 'readA 200\nreadA 404\nwriteB 201\n')).toEqual([]);
});
