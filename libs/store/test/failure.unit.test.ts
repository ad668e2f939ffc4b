import pg from 'pg';
import { describe, expect, it } from 'vitest';
import {
  type FailureClass,
  OlderThanRetentionError,
  StreamLimitError,
  SchemaNotCurrentError,
  classifyFailure,
} from '../src/failure.ts';

function sqlState(code: string): Error {
  return Object.assign(new pg.DatabaseError('refused', 7, 'error'), { code });
}

function socket(code: string): Error {
  return Object.assign(new Error(`connect ${code}`), { code });
}

const verdicts: [FailureClass, Error[]][] = [
  [
    'hold',
    [
      '08000',
      '08003',
      '08006',
      '57P01',
      '57P02',
      '57P03',
      '53100',
      '53200',
      '53300',
      '58030',
      '25006',
      '2200H',
      '57014',
      '3F000',
      '42P01',
      '3D000',
      '28P01',
    ].map(sqlState),
  ],
  [
    'hold',
    ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'ENOENT'].map(
      socket,
    ),
  ],
  [
    'hold',
    [
      new Error('Connection terminated unexpectedly'),
      new Error('Connection terminated due to connection timeout'),
      new Error('timeout exceeded when trying to connect'),
    ],
  ],
  ['hold', [new AggregateError([socket('ECONNREFUSED'), socket('ECONNREFUSED')])]],
  ['retry-now', ['40001', '40P01', '55P03'].map(sqlState)],
  ['bad-data', ['22000', '22003', '22021', '22P02', '22P05', '23502', '23503', '23514', '23P01'].map(sqlState)],
  ['hold', [new SchemaNotCurrentError(['0001'])]],
  ['bad-data', [new OlderThanRetentionError([], 0), new StreamLimitError([], 1)]],
  ['unknown', ['23505', 'XX000', '42601', '0A000', '54000'].map(sqlState)],
  ['unknown', [new TypeError('x is undefined'), socket('ERR_INVALID_ARG_TYPE')]],
];

describe('a failed write', () => {
  it.each(
    verdicts.flatMap(([verdict, errors]) =>
      errors.map((error) => [verdict, (error as { code?: string }).code ?? error.message, error] as const),
    ),
  )('is %s on %s', (verdict, _, error) => {
    expect(classifyFailure(error)).toBe(verdict);
  });

  it('is unknown when what was thrown is no error', () => {
    expect(classifyFailure('ECONNREFUSED')).toBe('unknown');
  });
});
