import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  ConfigurationError,
  describeVariables,
  readConfiguration,
  relation,
  variablesTable,
} from '../src/configuration.ts';
import { choice, integer, optional, port, secret, string, url } from '../src/variables.ts';

const variables = {
  databaseUrl: secret(url('DATABASE_URL', { protocols: ['postgres', 'postgresql'], doc: 'Where rows go' })),
  prefetch: integer('PREFETCH', { min: 1, max: 1000, default: 100, unit: 'envelopes', doc: 'Taken ahead' }),
  batch: integer('BATCH', { min: 1, max: 1000, default: 50, unit: 'envelopes', doc: 'Written together' }),
  port: port('PORT', { default: 8080, doc: 'Listens here' }),
  mode: choice('MODE', ['calm', 'fast'], { default: 'calm', doc: 'Mood' }),
  label: optional(string('LABEL', { doc: 'A name' })),
};
const relations = [relation(variables, 'PREFETCH ≥ BATCH', ['prefetch', 'batch'], (c) => c.prefetch >= c.batch)];

const problemsOf = (environment: Record<string, string>): readonly string[] => {
  try {
    readConfiguration(variables, environment, relations);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError);
    return (error as ConfigurationError).problems;
  }
};

describe('configuration', () => {
  it('is a frozen object of typed values and defaults', () => {
    const configuration = readConfiguration(
      variables,
      { DATABASE_URL: 'postgres://db/x', PREFETCH: '7', BATCH: '7' },
      relations,
    );
    expect(configuration).toEqual({
      databaseUrl: 'postgres://db/x',
      prefetch: 7,
      batch: 7,
      port: 8080,
      mode: 'calm',
      label: undefined,
    });
    expect(Object.isFrozen(configuration)).toBe(true);
  });

  it('reports every problem together, with the given value, the allowed values and the unit', () => {
    expect(problemsOf({ PREFETCH: '1e3', PORT: '65536', MODE: 'slow' })).toEqual([
      'DATABASE_URL is missing: expected postgres://… or postgresql://…',
      'PREFETCH is "1e3": expected a whole number from 1 to 1000, in envelopes',
      'PORT is "65536": expected a whole number from 0 to 65535',
      'MODE is "slow": expected calm | fast',
    ]);
  });

  it('checks relations between values that are each valid', () => {
    expect(problemsOf({ DATABASE_URL: 'postgres://db/x', PREFETCH: '10', BATCH: '20' })).toEqual([
      'PREFETCH ≥ BATCH: PREFETCH is 10, BATCH is 20',
    ]);
    expect(problemsOf({ DATABASE_URL: 'postgres://db/x', PREFETCH: '10', BATCH: '0' })).toHaveLength(1);
  });

  it('treats an empty variable as missing', () => {
    expect(readConfiguration(variables, { DATABASE_URL: 'postgres://db/x', PORT: '' }).port).toBe(8080);
  });

  it('reads a secret from the file that NAME_FILE names, and never shows it', async () => {
    const file = join(await mkdtemp(join(tmpdir(), 'fleetwire-')), 'url');
    await writeFile(file, 'postgres://u:hunter2@db/x\n');
    expect(readConfiguration(variables, { DATABASE_URL_FILE: file }).databaseUrl).toBe('postgres://u:hunter2@db/x');
    expect(problemsOf({ DATABASE_URL: 'mysql://u:hunter2@db' }).join()).not.toContain('hunter2');
    expect(problemsOf({ DATABASE_URL: 'postgres://db', DATABASE_URL_FILE: file })).toHaveLength(1);
    expect(problemsOf({ DATABASE_URL_FILE: `${file}.gone` })[0]).toContain('ENOENT');
  });

  it('describes its variables for the documentation', () => {
    expect(describeVariables(variables).slice(0, 2)).toEqual([
      {
        name: 'DATABASE_URL, DATABASE_URL_FILE',
        allowed: 'postgres://… or postgresql://…',
        unit: '',
        default: 'required',
        doc: 'Where rows go',
      },
      {
        name: 'PREFETCH',
        allowed: 'a whole number from 1 to 1000',
        unit: 'envelopes',
        default: '100',
        doc: 'Taken ahead',
      },
    ]);
  });

  it('writes a table whose cells contain no stray separators', () => {
    const [header, , ...rows] = variablesTable(variables).trim().split('\n');
    expect(header).toBe('| Variable | Allowed | Default | Meaning |');
    expect(rows[0]).toBe(
      '| `DATABASE_URL`, `DATABASE_URL_FILE` | postgres://… or postgresql://… | required | Where rows go |',
    );
    expect(rows[4]).toContain('calm \\| fast');
  });
});
