import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { production } from '../assumptions.ts';
import { measuredIn, readCostTable } from '../cost-table.ts';
import { costsOf } from '../costs.ts';

describe('the table of costs', () => {
  it('says of each where it is from', async () => {
    for (const row of await readCostTable()) {
      expect(row.measuredOn).toMatch(/^\d{4}-\d{2}-\d{2}$/);
      expect(row.machine).not.toBe('');
      expect(row.unit).not.toBe('');
      expect(Number.isFinite(row.value)).toBe(true);
    }
  });

  it('names the figure that it lacks', async () => {
    const table = await readCostTable();
    const without = table.filter(({ figure }) => figure !== 'CPU a handshake, ingest-ws');
    expect(() => costsOf(without)).toThrow(/"CPU a handshake, ingest-ws"/);
  });

  it('takes medians from a file of the bench', () => {
    const bench = {
      startedAt: '2026-11-21T05:00:00.000Z',
      machine: { cpus: 2, model: 'a CPU' },
      backing: ['Postgres 18.4'],
      studies: { fleet: [] },
      figures: [{ name: 'a handshake', unit: 'µs', median: 123.456789, calmRuns: 3 }],
    };
    expect(measuredIn(bench)).toEqual([
      {
        figure: 'a handshake',
        value: 123.46,
        unit: 'µs',
        studies: 'fleet',
        runs: 3,
        measuredOn: '2026-11-21',
        machine: '2 × a CPU, Postgres 18.4',
      },
    ]);
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
