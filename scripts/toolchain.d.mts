export interface Machine {
  nodeVersion: string;
  platform: string;
  arch: string;
  pnpmVersion: string | undefined;
}

export const pnpmVersion: string;
export function missingTools(machine: Machine): { node?: string; pnpm?: string };
export function majorOf(version: string): number;
export function explainFailure(step: string, output: string): string;
