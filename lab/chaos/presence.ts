import { eventually } from '@fleetwire/platform/testing/eventually';
import { openDatabase } from '@fleetwire/store/database';

interface Shown {
  readonly deviceId: string;
  readonly presence: string;
  /** Open connections in the history. */
  readonly open: number;
}

const shownMax = 5;

/**
 * Waits until the presence of all devices is what their sockets are: one open connection each, or none.
 * @throws Error that names devices of which it is not
 */
export async function untilPresenceIs(
  isConnected: boolean,
  { databaseUrl, deviceIds, timeoutMs }: { databaseUrl: string; deviceIds: readonly string[]; timeoutMs: number },
): Promise<void> {
  const database = openDatabase({ databaseUrl, poolMax: 1, statementTimeoutMs: 30_000, applicationName: 'chaos' });
  try {
    await eventually(
      async () => {
        const { rows } = await database.pool.query<Shown>(
          `select id as "deviceId", coalesce(p.status || ': ' || p.reason || ', ' || p.sessions, 'none') as presence,
             (select count(*)::int4 from connections c where c.device_id = id and c.ended_at is null) as open
           from unnest($1::text[]) as id left join presence p on p.device_id = id`,
          [deviceIds],
        );
        const isTrue = ({ presence, open }: Shown) =>
          isConnected
            ? presence === 'online: connected, 1' && open === 1
            : presence.startsWith('offline: ') && open === 0;
        const wrong = rows.filter((row) => !isTrue(row));
        if (wrong.length === 0) return;
        const examples = wrong
          .slice(0, shownMax)
          .map(({ deviceId, presence, open }) => `${deviceId} (${presence} sessions; ${open} open connections)`);
        throw new Error(
          `presence is not what the sockets are, which are ${isConnected ? 'open' : 'closed'}: ${wrong.length} devices, ${examples.join(', ')}`,
        );
      },
      { timeoutMs, intervalMs: 500 },
    );
  } finally {
    await database.close();
  }
}
