import { eventually } from './eventually.ts';
import type { Platform } from './platform.ts';

const looksApartMs = 1_000;

/**
 * Resolves when no queue holds a message, neither ready nor delivered and unacknowledged. The management API, whose numbers lag behind, says
 * when to look; the broker itself is asked then.
 * @throws with the queues that still hold some
 */
export async function untilDrained({ manage, rabbitmq }: Platform, timeoutMs: number): Promise<void> {
  let last = 'the broker did not answer';
  await eventually(
    async () => {
      const rough = (await manage('GET', '/queues')) as { name: string; messages?: number }[];
      last = described(rough.map(({ name, messages = 0 }) => [name, messages]));
      if (last !== '') return false;
      const listed = await rabbitmq.ctl(['list_queues', '--quiet', '--no-table-headers', 'name', 'messages']);
      last = described(
        listed
          .trim()
          .split('\n')
          .map((line): [string, number] => {
            const [name = '', messages] = line.trim().split(/\s+/);
            return [name, Number(messages)];
          }),
      );
      return last === '';
    },
    { timeoutMs, intervalMs: looksApartMs, describe: () => `queues were not empty (${last})` },
  );
}

function described(queues: readonly (readonly [string, number])[]): string {
  return queues
    .filter(([, messages]) => messages !== 0)
    .map(([name, messages]) => `${name}: ${messages}`)
    .join(', ');
}
