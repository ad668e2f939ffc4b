/**
 * The program that each command of package.json runs after set-up. Programs are files of the repository, run by Node.
 * `packages` is a folder outside the workspace, with a lockfile of its own, that only this command needs.
 */
export const commands = {
  start: { program: 'scripts/launcher/main.ts', args: [], env: {} },
  dev: { program: 'scripts/launcher/main.ts', args: ['--watch'], env: {} },
  test: { program: 'scripts/test.ts', args: [], env: {} },
  'test:containers': {
    program: 'scripts/test.ts',
    args: ['--skip-check'],
    env: { FLEETWIRE_TEST_BACKING: 'containers' },
  },
  // Runs a unit test again whenever the test or a file that it imports changes.
  'test:watch': {
    program: 'node_modules/vitest/vitest.mjs',
    args: ['watch', '--project', 'unit'],
    env: {},
  },
  // The oldest supported Postgres, from Debian 12's package. The unit tests use no server.
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
  chaos: { program: 'lab/chaos/main.ts', args: [], env: {} },
  fuzz: { program: 'lab/fuzz/main.ts', args: [], env: {} },
  scaling: { program: 'lab/scaling/main.ts', args: [], env: {} },
  format: { program: 'node_modules/oxfmt/bin/oxfmt', args: ['.'], env: {} },
};
