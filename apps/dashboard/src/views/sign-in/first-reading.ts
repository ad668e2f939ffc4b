import { signal } from '@preact/signals';
import { callJson } from '../../api.ts';
import { serverNow } from '../../clock.ts';
import { watch } from '../../live.ts';
import type { LiveReading } from '../../live-messages.ts';
import type { FirstReading } from './sentences.ts';

const askEveryMs = 500;

/** Waits for a reading of the device, and then until it is stored. @returns the reading as a signal, and what ends the wait */
export function followFirstReading(deviceId: string) {
  const reading = signal<FirstReading | undefined>(undefined);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ended = false;

  async function askStored(): Promise<void> {
    const one = reading.peek()!;
    try {
      const { epoch, seq } = one;
      const answer = await callJson<StoredAnswer>('POST', '/api/v1/live/stored', {
        runs: [{ deviceId, epoch, first: seq, last: seq }],
      });
      const [run] = answer.runs;
      if (run!.stored.length > 0) reading.value = { ...one, storedAt: serverNow() };
      else if (run!.dead[0] !== undefined) reading.value = { ...one, dead: run!.dead[0].message };
    } catch {
      // Asked again below: the wait goes on while the database is away.
    }
    const { storedAt, dead } = reading.peek()!;
    if (!ended && storedAt === undefined && dead === undefined) timer = setTimeout(() => void askStored(), askEveryMs);
  }

  const unwatch = watch({ devices: [deviceId], events: ['readings'], since: 'now-1m' }, (message) => {
    if (message.type !== 'data_update' || reading.peek() !== undefined) return;
    reading.value = begun(message.readings[0]!);
    void askStored();
  });
  return {
    reading,
    end: () => {
      ended = true;
      clearTimeout(timer);
      unwatch();
    },
  };
}

function begun({ deviceId, epoch, seq, receivedAt }: LiveReading): FirstReading {
  const now = serverNow();
  const received = receivedAt === undefined ? now : Date.parse(receivedAt);
  return {
    deviceId,
    epoch,
    seq,
    receivedAt: received,
    confirmedAt: Math.max(now, received),
    storedAt: undefined,
    dead: undefined,
  };
}

interface StoredAnswer {
  readonly runs: readonly {
    readonly stored: readonly unknown[];
    readonly dead: readonly { readonly message: string }[];
  }[];
}
