import { describe, expect, it } from 'vitest';
import { catalogue, faultsNamed } from '../catalogue.ts';

const names = (wanted: readonly string[]) => faultsNamed(wanted).map(({ name }) => name);

describe('--faults', () => {
  it('takes faults by name, by component, or all of them', () => {
    expect(faultsNamed(['all'])).toEqual(catalogue);
    expect(names(['postgres-killed', ' rabbitmq-paused'])).toEqual(['rabbitmq-paused', 'postgres-killed']);
    expect(names(['query-api'])).toEqual(['query-api-killed', 'query-api-terminated', 'query-api-paused']);
  });

  it('refuses a word that is neither', () => {
    expect(() => faultsNamed(['rabbitmq-killed', 'meteor'])).toThrow('there is no fault or component "meteor"');
  });

  it('knows each fault by one name', () => {
    expect(new Set(catalogue.map(({ name }) => name)).size).toBe(catalogue.length);
  });
});
