import { signal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { serverNow } from '../../clock.ts';
import { watch } from '../../live.ts';
import { type LiveReadings, take } from './held-readings.ts';

/** What the stream of a device holds; `version` grows once a frame at most, and not while the page is hidden. */
export function useLiveReadings(
  deviceId: string,
  historyMs: number,
): { readonly live: LiveReadings; readonly version: number } {
  const version = useMemo(() => signal(0), [deviceId]);
  const live = useMemo<LiveReadings>(
    () => ({
      readings: [],
      identities: new Set(),
      from: Infinity,
      latest: new Map(),
      lastSeq: new Map(),
      commandChanges: 0,
      problem: undefined,
    }),
    [deviceId],
  );

  useEffect(() => {
    const since = serverNow() - historyMs;
    live.from = Math.min(live.from, since);
    let frame: number | undefined;
    const publish = () => {
      frame ??= requestAnimationFrame(() => {
        frame = undefined;
        version.value += 1;
      });
    };
    const end = watch(
      { devices: [deviceId], since: new Date(since).toISOString(), mode: 'complete', events: ['readings', 'commands'] },
      (message) => {
        if (message.type === 'command') live.commandChanges += 1;
        else if (message.type === 'error') live.problem = message.message;
        else if (message.type === 'data_update') {
          for (const reading of message.readings) take(live, { ...reading, at: Date.parse(reading.ts) });
        } else return;
        publish();
      },
    );
    return () => {
      end();
      if (frame !== undefined) cancelAnimationFrame(frame);
    };
    // A longer history is another subscription; a shorter one is in what is held.
  }, [deviceId, historyMs]);
  return { live, version: version.value };
}
