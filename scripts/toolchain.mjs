/** A reason why set-up cannot go on, with what the user can do about it, in one sentence. */
export class SetupProblem extends Error {}

const nodeMajorNeeded = 24;
const nodeVersion = '24.21.0';
const pnpmVersion = '12.21.0';

/**
 * The npm packages, with pinned versions, that set-up must install because the machine has no suitable Node or pnpm.
 * @param {{ nodeVersion: string, platform: string, arch: string, pnpmVersion: string | undefined }} machine
 * @returns {{ node?: string, pnpm?: string }} package by tool
 */
export function missingTools(machine) {
  const missing = {};
  if (majorOf(machine.nodeVersion) < nodeMajorNeeded) missing.node = nodePackage(machine);
  if (machine.pnpmVersion !== pnpmVersion) missing.pnpm = `pnpm@${pnpmVersion}`;
  return missing;
}

function nodePackage({ nodeVersion: present, platform, arch }) {
  if (platform !== 'linux' || !['x64', 'arm64'].includes(arch)) {
    throw new SetupProblem(
      `Fleetwire needs Node ${nodeMajorNeeded} or newer, found ${present}, and npm has no build of it for ${platform} on ${arch}: install Node ${nodeMajorNeeded}.`,
    );
  }
  return `node-linux-${arch}@${nodeVersion}`;
}

export function majorOf(version) {
  return Number(version.replace(/^v/, '').split('.')[0]);
}

/**
 * Turns the output of a failed npm or pnpm run into one sentence with the cause and the way out.
 * @param {string} step title of the step that failed
 * @param {string} output standard output and standard error of the program
 */
export function explainFailure(step, output) {
  const causes = [
    [/ENOSPC/, 'the disk is full; free some space and run the command again'],
    [
      /EACCES|EPERM|EROFS/,
      'this user cannot write here; make the repository writable for this user or clone it elsewhere',
    ],
    [
      /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|dns error|error sending request|META_FETCH_FAIL/,
      'the npm registry cannot be reached; check the network and the registry setting of npm',
    ],
    [
      /OUTDATED_LOCKFILE/,
      'pnpm-lock.yaml does not match the package.json files; run "pnpm install" and commit the lockfile',
    ],
    [
      /E404|NO_MATCHING_VERSION|ETARGET|ERR_PNPM_FETCH_404/,
      'the npm registry does not have one of the pinned versions',
    ],
    [/EBADPLATFORM/, 'npm has no build for this platform'],
  ];
  const cause = causes.find(([pattern]) => pattern.test(output));
  const lastLine = output.trim().split('\n').at(-1) ?? '';
  return `Could not finish "${step}": ${cause ? cause[1] : lastLine || 'the program failed without output'}.`;
}
