import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { production } from '../assumptions.ts';
import { type CostId, costUnit } from '../../bench/cost-figures.ts';
import { measuredIn, merged, readCostTable, textOf } from '../cost-table.ts';
import { costsOf } from '../costs.ts';

const handshake = { kind: 'cpuPerHandshake', process: 'ingest-ws' } as const;

describe('the table of costs', () => {
  it('states the source of every figure', async () => {
    for (const { measuredOn, machine, figures } of await readCostTable()) {
      expect(measuredOn).toMatch(/^\d{4}-\d{2}-\d{2}$/);
      expect(machine).not.toBe('');
      for (const { id, value, unit } of figures) {
        expect(unit).toBe(costUnit(id));
        expect(Number.isFinite(value)).toBe(true);
      }
    }
  });

  it('names the figure that it lacks', async () => {
    const without = (await readCostTable()).map((measurement) => ({
      ...measurement,
      figures: measurement.figures.filter(({ id }) => id.kind !== 'cpuPerHandshake'),
    }));
    expect(() => costsOf(without)).toThrow(/"CPU per handshake, ingest-ws"/);
  });

  it('takes the medians of cost figures from a file of the bench, and leaves out other figures', () => {
    const bench = {
      startedAt: '2026-11-21T05:00:00.000Z',
      machine: { cpus: 2, model: 'a CPU' },
      backing: ['Postgres 18.4'],
      studies: { fleet: [] },
      figures: [
        { id: handshake, unit: 'µs', median: 123.456789, undisturbedRuns: 3 },
        { id: { kind: 'bytesPerValue' }, unit: 'B', median: 30, undisturbedRuns: 3 },
      ],
    };
    expect(measuredIn(bench)).toEqual([
      {
        measuredOn: '2026-11-21',
        machine: '2 × a CPU, Postgres 18.4',
        studies: 'fleet',
        runs: 3,
        figures: [{ id: handshake, value: 123.46, unit: 'µs' }],
      },
    ]);
  });

  it('replaces the figures that were measured anew, and keeps the others with their source', () => {
    const ackP99 = { kind: 'ackP99', load: 'low' } as const;
    const source = { measuredOn: '2026-11-20', machine: 'old', studies: 'fleet', runs: 3 };
    const cost = (id: CostId, value: number) => ({ id, value, unit: costUnit(id) });
    const old = [{ ...source, figures: [cost(handshake, 1), cost(ackP99, 2)] }];
    const fresh = [{ ...source, machine: 'new', figures: [cost({ load: 'low', kind: 'ackP99' }, 3)] }];
    const table = merged(old, fresh);
    expect(table).toEqual([{ ...source, figures: [cost(handshake, 1)] }, ...fresh]);
    expect(JSON.parse(textOf(table))).toEqual(table);
  });
});

describe("production's bounds", () => {
  const page = async (service: string) =>
    readFile(new URL(`../../../docs/configuration/${service}.md`, import.meta.url), 'utf8');
  const defaultOf = (text: string, variable: string) =>
    Number(new RegExp(`^\\| \`${variable}\`[^|]*\\|[^|]*\\| (\\d+) \\|`, 'm').exec(text)?.[1]);

  it('are those of the services', async () => {
    const [ingest, worker] = [await page('ingest-ws'), await page('persistence-worker')];
    expect(production).toMatchObject({
      connectionsMax: defaultOf(ingest, 'CONNECTIONS_MAX'),
      envelopeReadingsMax: defaultOf(ingest, 'ENVELOPE_READINGS_MAX'),
      envelopeBytesMax: defaultOf(ingest, 'ENVELOPE_BYTES_MAX'),
      envelopeLingerMs: defaultOf(ingest, 'ENVELOPE_LINGER_MS'),
      publishMessagesInFlightMax: defaultOf(ingest, 'PUBLISH_MESSAGES_IN_FLIGHT_MAX'),
      bufferBytesMax: defaultOf(ingest, 'BUFFER_BYTES_MAX'),
      prefetch: defaultOf(worker, 'PREFETCH'),
      batchReadingsMax: defaultOf(worker, 'BATCH_READINGS_MAX'),
      batchBytesMax: defaultOf(worker, 'BATCH_BYTES_MAX'),
      batchLingerMs: defaultOf(worker, 'BATCH_LINGER_MS'),
      transactionsMax: defaultOf(worker, 'WRITERS_MAX'),
      holdCapMs: defaultOf(worker, 'HOLD_CAP_MS'),
    });
  });

  it('are those of the transaction batcher', async () => {
    const batcher = new URL('../../../services/persistence-worker/src/transaction-batcher.ts', import.meta.url);
    expect(await readFile(batcher, 'utf8')).toContain(`const stuckAfterMs = ${production.stuckTransactionMs};`);
  });

  it('are those of the topology', async () => {
    const topology = await readFile(new URL('../../../libs/broker/src/topology.ts', import.meta.url), 'utf8');
    const MiB = 2 ** 20;
    expect(topology).toContain(
      `persistMessagesMax: ${production.queueMessagesMax.toLocaleString('en-US').replaceAll(',', '_')},`,
    );
    expect(topology).toContain(`persistBytesMax: ${production.queueBytesMax / MiB} * MiB`);
  });
});
