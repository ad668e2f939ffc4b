import { useSignal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { liveState, onFrame, watch } from '../../live.ts';
import type { LiveMessage } from '../../live-messages.ts';
import { type ConnectionFacts, delayOf } from './connection.tsx';
import type { Filter } from './filter.ts';
import { linesOfFrame } from './log-lines.ts';
import { LogStore } from './log-store.ts';
import { Sender } from './sender.ts';

const delaysMax = 500;

/** The log of this tab; it stays when another view is open for a while. */
const store = new LogStore();
const commandTimes = new Map<string, number>();

/** Watches what the filter selects, and keeps what goes over the sockets of this page. */
export function useLog({ devices }: Filter): {
  readonly store: LogStore;
  readonly sender: Sender;
  readonly connection: ConnectionFacts;
  readonly commandSent: (id: string) => void;
} {
  const sender = useMemo(() => {
    const made: Sender = new Sender((direction, text, at) =>
      store.add(linesOfFrame(direction, text, at, { reading: made.sentAt, command: (id) => commandTimes.get(id) })),
    );
    return made;
  }, []);
  useEffect(() => () => sender.close(), [sender]);
  const facts = useSignal<Omit<ConnectionFacts, 'devices'>>({
    sessionId: undefined,
    delays: [],
    conflated: 0,
    times: 0,
    at: undefined,
    lostForMs: undefined,
    caughtUp: false,
    openGaps: 0,
  });
  const change = (more: Partial<ConnectionFacts>) => void (facts.value = { ...facts.peek(), ...more });

  useEffect(
    () =>
      onFrame((direction, text, at) => {
        if (text.startsWith('{"type":"hello"'))
          change({ sessionId: (JSON.parse(text) as { sessionId: string }).sessionId });
        store.add(linesOfFrame(direction, text, at, { reading: sender.sentAt, command: (id) => commandTimes.get(id) }));
      }),
    [sender],
  );
  useEffect(
    () =>
      liveState.subscribe((state) => {
        if (state.kind !== 'open' || state.lostForMs === undefined) return;
        change({ times: facts.peek().times + 1, at: state.since, lostForMs: state.lostForMs, caughtUp: false });
      }),
    [],
  );
  const patterns = devices.length === 0 ? '*' : [...devices];
  useEffect(() => {
    const gaps = new Set<string>();
    return watch({ pattern: patterns, events: ['readings', 'commands'], mode: 'complete' }, (message: LiveMessage) => {
      if (message.type === 'data_update') {
        const added =
          message.phase === 'live'
            ? message.readings.map(({ receivedAt }) => delayOf(receivedAt)).filter((ms) => ms !== undefined)
            : [];
        change({
          delays: [...facts.peek().delays, ...added].slice(-delaysMax),
          conflated: facts.peek().conflated + (message.conflated ?? 0),
        });
      } else if (message.type === 'gap') {
        gaps.add(message.gapId);
        change({ openGaps: gaps.size });
      } else if (message.type === 'gap_filled') {
        gaps.delete(message.gapId);
        change({ openGaps: gaps.size });
      } else if (message.type === 'caught_up' && message.pendingId === undefined) change({ caughtUp: true });
    });
  }, [JSON.stringify(patterns)]);
  return {
    store,
    sender,
    connection: { ...facts.value, devices },
    commandSent: (id) => commandTimes.set(id, Date.now()),
  };
}
