import { eventually } from '@fleetwire/platform/testing/eventually';
import type { ChaosPlatform } from './platform.ts';

const intervalMs = 1_000;

/**
 * Resolves when no queue holds a message, neither ready nor unacknowledged. The management API, whose numbers lag behind, is cheap and is asked
 * first; `rabbitmqctl` then gives the exact numbers.
 * @throws Error that names the queues with messages
 */
export async function untilDrained({ manage, rabbitmq }: ChaosPlatform, timeoutMs: number): Promise<void> {
  await eventually(
    async () => {
      const rough = (await manage('GET', '/queues')) as { name: string; messages?: number }[];
      assertEmpty(rough.map(({ name, messages = 0 }) => [name, messages]));
      const listed = await rabbitmq.ctl(['list_queues', '--quiet', '--no-table-headers', 'name', 'messages']);
      assertEmpty(
        listed
          .trim()
          .split('\n')
          .map((line): [string, number] => {
            const [name = '', messages] = line.trim().split(/\s+/);
            return [name, Number(messages)];
          }),
      );
    },
    { timeoutMs, intervalMs },
  );
}

function assertEmpty(queues: readonly (readonly [string, number])[]): void {
  const full = queues.filter(([, messages]) => messages !== 0);
  if (full.length > 0)
    throw new Error(`queues are not empty: ${full.map(([name, messages]) => `${name}: ${messages}`).join(', ')}`);
}
