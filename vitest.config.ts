import { defineConfig } from 'vitest/config';

const unitTests = '{libs,services,tools}/*/test/**/*.unit.test.ts';

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
          include: ['{libs,services,tools}/*/test/**/*.test.ts', 'e2e/*.test.ts'],
          exclude: ['**/node_modules/**', unitTests],
          globalSetup: 'libs/test-kit/src/global-setup.ts',
        },
      },
    ],
  },
});
