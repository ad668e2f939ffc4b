import { eventually } from '@fleetwire/platform/testing/eventually';
import type { ChaosPlatform } from './platform.ts';

const intervalMs = 1_000;
const columns = ['name', 'messages', 'messages_unacknowledged'] as const;

interface Queue {
  readonly name: string;
  readonly messages: number;
  readonly unacknowledged: number;
}

/**
 * Resolves when no queue holds a message, neither ready nor unacknowledged. The management API, whose numbers lag behind, is cheap and is asked
 * first; `rabbitmqctl` then gives the exact numbers.
 * @throws Error that names the queues with messages
 */
export async function untilDrained({ manage, rabbitmq }: ChaosPlatform, timeoutMs: number): Promise<void> {
  await eventually(
    async () => {
      const rough = (await manage('GET', '/queues')) as { [column in (typeof columns)[number]]?: string | number }[];
      assertEmpty(rough.map((row) => toQueue(columns.map((column) => row[column]))));
      const listed = await rabbitmq.ctl(['list_queues', '--quiet', '--no-table-headers', ...columns]);
      const rows = listed.split('\n').filter((line) => line.trim() !== '');
      assertEmpty(rows.map((line) => toQueue(line.trim().split(/\s+/))));
    },
    { timeoutMs, intervalMs },
  );
}

function toQueue([name, messages, unacknowledged]: readonly (string | number | undefined)[]): Queue {
  return { name: String(name), messages: Number(messages ?? 0), unacknowledged: Number(unacknowledged ?? 0) };
}

function assertEmpty(queues: readonly Queue[]): void {
  const full = queues.filter(({ messages }) => messages !== 0);
  const texts = full.map(
    ({ name, messages, unacknowledged }) => `${name}: ${messages}, ${unacknowledged} of them unacknowledged`,
  );
  if (full.length > 0) throw new Error(`queues are not empty: ${texts.join('; ')}`);
}
