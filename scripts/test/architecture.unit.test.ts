import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { breachesInManifest, breachesInSource, checkArchitecture, undeclaredImports } from '../architecture.ts';

const caught: [what: string, path: string, text: string, breach: string][] = [
  [
    'ingest-ws importing the store',
    'services/ingest-ws/src/a.ts',
    `import { writer } from '@fleetwire/store/batch-writer';`,
    'must not import libs/store',
  ],
  [
    'a service importing a service',
    'services/query-api/src/a.ts',
    `import { x } from '@fleetwire/ingest-ws/session';`,
    'must not import services/ingest-ws',
  ],
  [
    'contracts importing a package of the workspace',
    'libs/contracts/src/a.ts',
    `import type { Logger } from '@fleetwire/runtime/logger';`,
    'must not import libs/runtime',
  ],
  [
    'runtime importing a package of the workspace',
    'libs/runtime/src/a.ts',
    `export { parse } from '@fleetwire/contracts/reading';`,
    'must not import libs/contracts',
  ],
  [
    'a dynamic import',
    'services/ingest-ws/src/a.ts',
    `const store = await import('@fleetwire/store/database');`,
    'must not import libs/store',
  ],
  [
    'an import over several lines',
    'services/ingest-ws/src/a.ts',
    `import {\n  one,\n  two,\n} from '@fleetwire/store/database';`,
    'must not import libs/store',
  ],
  [
    'amqplib outside broker',
    'services/persistence-worker/src/a.ts',
    `import { connect } from 'amqplib';`,
    'only libs/broker, lab/bench/peers may import amqplib',
  ],
  ['pg outside store', 'services/query-api/src/a.ts', `import pg from 'pg';`, 'may import pg'],
  [
    'a publisher in the query API',
    'services/query-api/src/a.ts',
    `import { createPublisher } from '@fleetwire/broker/publisher';`,
    'the query API publishes nothing',
  ],
  [
    'a retrying publisher in the query API',
    'services/query-api/src/a.ts',
    `import { createRetryingPublisher } from '@fleetwire/broker/retrying-publisher';`,
    'the query API publishes nothing',
  ],
  [
    'process.exit in a service',
    'services/ingest-ws/src/session.ts',
    `process.exit(1);`,
    'process.exit is not allowed here',
  ],
  [
    'a signal handler in a service',
    'services/ingest-ws/src/main.ts',
    `process.once('SIGTERM', stop);`,
    'a signal handler is not allowed here',
  ],
  [
    'process.env beside main.ts',
    'services/ingest-ws/src/session.ts',
    `const port = process.env.PORT;`,
    'process.env is not allowed here',
  ],
  [
    'the platform outside tests',
    'libs/broker/src/a.ts',
    `import { eventually } from '@fleetwire/platform/testing/eventually';`,
    'must not import libs/platform',
  ],
  [
    'a relative import into another package',
    'libs/store/src/a.ts',
    `import { x } from '../../broker/src/x.ts';`,
    'leaves the package',
  ],
  [
    'an import of a file that the package does not export',
    'libs/store/src/a.ts',
    `import { x } from '@fleetwire/contracts/src/x.ts';`,
    'is not exported by the package',
  ],
  [
    'a part of the laboratory importing a part that it may not import',
    'lab/fleet/a.ts',
    `import { bench } from '../bench/bench.ts';`,
    'must not import lab/bench',
  ],
  [
    'the product importing the laboratory',
    'cli/src/a.ts',
    `import { fleet } from '../../lab/fleet/fleet.ts';`,
    'leaves the package',
  ],
  ['a package without rules', 'libs/newcomer/src/a.ts', ``, 'has no entry in the architecture rules'],
];

const allowed: [what: string, path: string, text: string][] = [
  [
    'the worker importing the store',
    'services/persistence-worker/src/a.ts',
    `import { writer } from '@fleetwire/store/batch-writer';`,
  ],
  [
    'a test importing the platform',
    'libs/broker/test/a.test.ts',
    `import { eventually } from '@fleetwire/platform/testing/eventually';`,
  ],
  ['the benchmark importing the fleet', 'lab/bench/a.ts', `import { fleet } from '../fleet/fleet.ts';`],
  ['amqplib in broker', 'libs/broker/src/a.ts', `import { connect } from 'amqplib';`],
  ['process.env in main.ts', 'services/ingest-ws/src/main.ts', `start(process.env);`],
  ["a tool's main file handling signals", 'scripts/launcher/main.ts', `process.on('SIGINT', stop);`],
];

describe('the architecture check', () => {
  it.each(caught)('catches %s', (_what, path, text, breach) => {
    expect(breachesInSource({ path, text })).toEqual([expect.stringContaining(breach)]);
  });

  it.each(allowed)('allows %s', (_what, path, text) => {
    expect(breachesInSource({ path, text })).toEqual([]);
  });

  it('catches the platform among the dependencies of production', () => {
    const path = 'services/ingest-ws/package.json';
    const text = JSON.stringify({ dependencies: { '@fleetwire/platform': 'workspace:*' } });
    expect(breachesInManifest({ path, text })).toEqual([`${path}: platform may be a development dependency only`]);
  });

  const imports = `import { readFileSync } from 'node:fs';\nimport { SignJWT } from 'jose';\nimport { parse } from '@fleetwire/contracts/reading';`;

  it.each([
    ['cli/package.json', 'cli/src/tokens.ts'],
    ['services/query-api/package.json', 'services/query-api/src/a.ts'],
    ['package.json', 'lab/fleet/a.ts'],
  ])('catches an import that is only a development dependency in %s', (path, source) => {
    const text = JSON.stringify({
      dependencies: { '@fleetwire/contracts': 'workspace:*' },
      devDependencies: { jose: 'catalog:' },
    });
    expect(undeclaredImports({ path, text }, [{ path: source, text: imports }])).toEqual([
      `${source}: jose is not among the dependencies of ${path}`,
    ]);
  });

  it.each([
    ['cli/package.json', 'cli/test/tokens.test.ts'],
    ['package.json', 'lab/fleet/test/a.test.ts'],
    ['package.json', 'lab/bench/a.ts'],
    ['libs/auth/package.json', 'libs/broker/src/a.ts'],
  ])('does not compare %s with %s', (path, source) => {
    expect(undeclaredImports({ path, text: '{}' }, [{ path: source, text: imports }])).toEqual([]);
  });

  it('finds nothing in this repository', () => {
    expect(checkArchitecture(join(import.meta.dirname, '../..'))).toEqual([]);
  });
});
