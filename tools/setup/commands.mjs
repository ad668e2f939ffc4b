/**
 * What each command of package.json runs once everything is in place. Programs are files of the repository, run by Node.
 * `packages` is a folder outside the workspace, with a lockfile of its own, that nobody but this command needs.
 */
export const commands = {
  start: { program: 'tools/launcher/src/main.ts', args: [], env: {} },
  test: { program: 'tools/setup/test.ts', args: [], env: {} },
  'test:containers': {
    program: 'tools/setup/test.ts',
    args: ['--skip-check'],
    env: { FLEETWIRE_TEST_BACKING: 'containers' },
  },
  check: { program: 'tools/setup/check.ts', args: [], env: {} },
  bench: { program: 'tools/bench/src/main.ts', args: [], env: {} },
  'bench:peers': {
    program: 'tools/bench/src/main.ts',
    args: ['--only', 'peers'],
    env: {},
    packages: 'tools/bench/peers',
  },
  chaos: { program: 'tools/chaos/src/main.ts', args: [], env: {} },
  scaling: { program: 'tools/scaling/src/main.ts', args: [], env: {} },
  format: { program: 'node_modules/oxfmt/bin/oxfmt', args: ['.'], env: {} },
};
