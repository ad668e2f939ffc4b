import { defineConfig } from 'vitest/config';

const unitTests = '{libs/*,services/*,cli,lab/*,scripts,scripts/launcher}/test/**/*.unit.test.ts';

export default defineConfig({
  test: {
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: [unitTests] },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['{libs/*,services/*,cli,lab/*,scripts,scripts/launcher}/test/**/*.test.ts', 'lab/e2e/*.test.ts'],
          exclude: ['**/node_modules/**', unitTests],
          globalSetup: 'libs/platform/src/testing/global-setup.ts',
        },
      },
    ],
  },
});
