import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './scripts/test-order.ts';

const unitTests = '{libs/*,services/*,cli,apps/*,lab/*,scripts,scripts/launcher}/test/**/*.unit.test.ts';
/** Globs of files that a lane leaves out; `.ci/run` says why. */
const without = (process.env['FLEETWIRE_TEST_WITHOUT'] ?? '').split(' ').filter((glob) => glob !== '');

export default defineConfig({
  test: {
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    // A service that a test starts uses a third less CPU until it is ready.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, '.fleetwire/compile-cache') },
    // They end a test that hangs, and are far above what a busy machine takes: what a test waits for has a minute of its own (`eventually`).
    testTimeout: 300_000,
    hookTimeout: 180_000,
    teardownTimeout: 180_000,
    // One second by itself, which a busy machine needs for less.
    expect: { poll: { timeout: 60_000 } },
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: [unitTests] },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: [
            '{libs/*,services/*,cli,apps/*,lab/*,scripts,scripts/launcher}/test/**/*.test.ts',
            'lab/e2e/*.test.ts',
          ],
          exclude: ['**/node_modules/**', unitTests, ...without],
          globalSetup: 'libs/platform/src/testing/global-setup.ts',
        },
      },
      {
        extends: true,
        test: {
          name: 'browser',
          include: ['lab/browser/*.test.ts'],
          globalSetup: 'lab/browser/global-setup.ts',
        },
      },
    ],
  },
});
