import { eventually } from '@fleetwire/platform/testing/eventually';
import { openDatabase } from '@fleetwire/store/database';
import type { CommandEvidence } from './audit-commands.ts';
import type { CommandOperator } from './command-operator.ts';

const readTimeoutMs = 30_000;
const intervalMs = 500;
const statementTimeoutMs = 30_000;

/**
 * Waits until every command has ended, but not longer than this, and the audit then names those that have not. Retries while query-api's
 * circuit breaker is still open.
 */
export async function gatherCommands(
  operator: CommandOperator,
  { databaseUrl, timeoutMs }: { readonly databaseUrl: string; readonly timeoutMs: number },
): Promise<Omit<CommandEvidence, 'journals'>> {
  await untilEnded(databaseUrl, timeoutMs).catch(() => {});
  const { sent } = operator;
  return eventually(
    async () => {
      const jobs = new Map<string, Readonly<Record<string, number>>>();
      for (const { id, deviceId } of sent)
        if (deviceId === undefined && id !== undefined) jobs.set(id, await operator.jobStates(id));
      return { sent, shown: await operator.shown(), jobs };
    },
    { timeoutMs: readTimeoutMs, intervalMs },
  );
}

async function untilEnded(databaseUrl: string, timeoutMs: number): Promise<void> {
  const database = openDatabase({ databaseUrl, poolMax: 1, statementTimeoutMs, applicationName: 'chaos' });
  try {
    await eventually(
      async () => {
        const { rowCount } = await database.pool.query('select from commands where finished_at is null limit 1');
        if (rowCount !== 0) throw new Error('a command has not ended');
      },
      { timeoutMs, intervalMs },
    );
  } finally {
    await database.close();
  }
}
