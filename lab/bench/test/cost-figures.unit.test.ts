import { describe, expect, it } from 'vitest';
import { costConditions, costFigure, costLabel, isCostId } from '../cost-figures.ts';

describe('a cost figure', () => {
  it('is named after what was measured and its conditions', () => {
    const id = {
      kind: 'cpuPerReading',
      load: 'third',
      process: 'ingest-ws',
      devices: 10_000,
      readingsPerFrame: 1,
    } as const;
    expect(costFigure(id)).toEqual({
      id,
      name: 'CPU per reading at a third of full load, ingest-ws, 10,000 devices, 1 reading per frame',
      unit: 'µs',
    });
    expect(costLabel(id)).toBe('CPU per reading at a third of full load, ingest-ws');
    expect(costConditions({ ...id, readingsPerFrame: 20 })).toBe('10,000 devices, 20 readings per frame');
  });

  it('is named without conditions when it has none', () => {
    expect(costFigure({ kind: 'cpuPerHandshake', process: 'ingest-ws' }).name).toBe('CPU per handshake, ingest-ws');
  });

  it('is recognised by its kind', () => {
    expect([{ kind: 'ackP99', load: 'low' }, { kind: 'bytesPerValue' }].map(isCostId)).toEqual([true, false]);
  });
});
