import { describe, expect, it } from 'vitest';
import { catalogue, faultsNamed } from '../catalogue.ts';

const names = (wanted: readonly string[]) => faultsNamed(wanted).map(({ name }) => name);

describe('--faults', () => {
  it('selects faults by name, by component, or all of them', () => {
    expect(faultsNamed(['all'])).toEqual(catalogue);
    expect(names(['postgres-killed', ' rabbitmq-paused'])).toEqual(['rabbitmq-paused', 'postgres-killed']);
    expect(names(['query-api'])).toEqual(['query-api-killed', 'query-api-terminated', 'query-api-paused']);
  });

  it('refuses a name that is neither a fault nor a component', () => {
    expect(() => faultsNamed(['rabbitmq-killed', 'meteor'])).toThrow('there is no fault or component "meteor"');
  });

  it('gives every fault a name of its own', () => {
    expect(new Set(catalogue.map(({ name }) => name)).size).toBe(catalogue.length);
  });
});
