import { describe, expect, it } from 'vitest';
import { LiveFilter } from '../src/live-filter.ts';
import { SelectedDevices } from '../src/selected-devices.ts';

const change = (deviceId: string, version: number, tags: string[], type: string | null = null) => ({
  deviceId,
  version,
  state: { name: null, type, status: 'active', tags, location: null, metadata: {}, expectedIntervalMs: null } as const,
});

function selectedBy(filter: ConstructorParameters<typeof LiveFilter>[0], known: string[] = []): SelectedDevices {
  const selected = new SelectedDevices(new LiveFilter(filter));
  selected.read(
    selected.beginReading(),
    known.map((deviceId) => ({ deviceId, version: 3 })),
  );
  return selected;
}

describe('the devices that a filter by tag or device type selects', () => {
  it('follow the registry: added with all tags and the type, removed without one of them', () => {
    const selected = selectedBy({ tag: ['a', 'b'], deviceType: 'press' });
    expect(selected.apply(change('d', 1, ['a', 'b']))).toEqual({ added: [], removed: [] });
    expect(selected.apply(change('d', 2, ['a', 'b', 'c'], 'press'))).toEqual({ added: ['d'], removed: [] });
    expect(selected.apply(change('d', 3, ['b', 'a'], 'press'))).toEqual({ added: [], removed: [] });
    expect(selected.apply(change('d', 4, ['a'], 'press'))).toEqual({ added: [], removed: ['d'] });
  });

  it('are those of the pattern and the list of ids only', () => {
    const selected = selectedBy({ tag: 'a', pattern: 'press-*', devices: ['press-1', 'other'] });
    for (const id of ['press-1', 'press-2', 'other']) selected.apply(change(id, 1, ['a']));
    expect([...selected.ids]).toEqual(['press-1']);
  });

  it('do not go back to an older version of an entry, which may come after the devices were read', () => {
    const selected = selectedBy({ tag: 'a' }, ['d']);
    expect(selected.apply(change('d', 2, []))).toEqual({ added: [], removed: [] });
    expect(selected.has('d')).toBe(true);
  });

  it('take changes that come while they are read after what was read, and say what differs from before', () => {
    const selected = selectedBy({ tag: 'a' }, ['stays', 'goes']);
    const first = selected.beginReading();
    selected.apply(change('new', 4, ['a']));
    selected.apply(change('stays', 4, ['a', 'b']));
    expect(selected.has('new')).toBe(false);
    expect(selected.read(first, [{ deviceId: 'stays', version: 3 }])).toEqual({ added: ['new'], removed: ['goes'] });
    const second = selected.beginReading();
    selected.apply(change('stays', 5, []));
    expect(selected.keep(second)).toEqual({ added: [], removed: ['stays'] });
  });

  it('take the changes after the newest of two readings that overlap, whose earlier one is given up', () => {
    const selected = selectedBy({ tag: 'a' }, ['d']);
    const first = selected.beginReading();
    selected.apply(change('e', 4, ['a']));
    const second = selected.beginReading();
    expect(selected.keep(first)).toEqual({ added: [], removed: [] });
    selected.apply(change('d', 4, []));
    expect(selected.read(first, [])).toEqual({ added: [], removed: [] });
    expect(selected.read(second, [{ deviceId: 'd', version: 3 }])).toEqual({ added: ['e'], removed: ['d'] });
    expect([...selected.ids]).toEqual(['e']);
  });
});
