import { clusterFaults } from './cluster-faults.ts';
import type { Fault } from './fault.ts';
import { killAtWorkFaults } from './kill-at-work-faults.ts';
import { linkFaults } from './link-faults.ts';
import { postgresFaults } from './postgres-faults.ts';
import { rabbitmqFaults } from './rabbitmq-faults.ts';
import { refusalFaults } from './refusal-faults.ts';
import { leaseFaults, serviceFaults } from './service-faults.ts';

/** Every fault; docs/chaos.md describes them. */
export const catalogue: readonly Fault[] = [
  ...rabbitmqFaults,
  ...clusterFaults,
  ...postgresFaults,
  ...serviceFaults,
  ...leaseFaults,
  ...killAtWorkFaults,
  ...refusalFaults,
  ...linkFaults,
];

/**
 * @param wanted names of faults or components, or `all`
 * @throws RangeError for a name that is neither
 */
export function faultsNamed(wanted: readonly string[]): readonly Fault[] {
  const words = wanted.map((word) => word.trim());
  const matches = (word: string, { name, component }: Fault) => word === 'all' || word === name || word === component;
  for (const word of words)
    if (!catalogue.some((fault) => matches(word, fault)))
      throw new RangeError(`there is no fault or component "${word}"`);
  return catalogue.filter((fault) => words.some((word) => matches(word, fault)));
}
