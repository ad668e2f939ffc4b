/**
 * The program that each command of package.json runs after set-up. Programs are files of the repository, run by Node.
 * `packages` is a folder outside the workspace, with a lockfile of its own, that only this command needs; `dashboard`: it needs the built dashboard, `browser`: and a browser.
 */
export const commands = {
  start: { program: 'scripts/launcher/main.ts', args: [], env: {}, dashboard: true },
  dev: { program: 'scripts/launcher/main.ts', args: ['--watch'], env: {}, dashboard: true },
  test: { program: 'scripts/test.ts', args: [], env: {}, dashboard: true, browser: true },
  // The unit tests use no server.
  'test:containers': {
    program: 'scripts/test.ts',
    args: ['--skip-check', '--project', 'integration'],
    env: { FLEETWIRE_TEST_BACKING: 'containers' },
  },
  // Runs a unit test again whenever the test or a file that it imports changes.
  'test:watch': {
    program: 'node_modules/vitest/vitest.mjs',
    args: ['watch', '--project', 'unit'],
    env: {},
  },
  // The oldest supported Postgres, from Debian 12's package.
  'test:oldest': {
    program: 'scripts/test.ts',
    args: ['--skip-check', '--project', 'integration'],
    env: { FLEETWIRE_TEST_BACKING: 'native', FLEETWIRE_TEST_POSTGRES: '15' },
  },
  check: { program: 'scripts/check.ts', args: [], env: {} },
  bench: { program: 'lab/bench/main.ts', args: [], env: {} },
  'bench:peers': {
    program: 'lab/bench/main.ts',
    args: ['--only', 'peers'],
    env: {},
    packages: 'lab/bench/peers',
  },
  'bench:dashboard': { program: 'lab/browser/bench.ts', args: [], env: {}, dashboard: true, browser: true },
  chaos: { program: 'lab/chaos/main.ts', args: [], env: {} },
  fuzz: { program: 'lab/fuzz/main.ts', args: [], env: {} },
  screenshots: { program: 'lab/browser/screenshots.ts', args: [], env: {}, dashboard: true, browser: true },
  scaling: { program: 'lab/scaling/main.ts', args: [], env: {} },
  docs: {
    program: 'docs/site/node_modules/vitepress/bin/vitepress.js',
    args: ['build', 'docs/site'],
    env: {},
    packages: 'docs/site',
  },
  format: { program: 'node_modules/oxfmt/bin/oxfmt', args: ['.'], env: {} },
};
