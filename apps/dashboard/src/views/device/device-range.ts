import { useEffect, useRef, useState } from 'preact/hooks';
import { now, serverNow } from '../../clock.ts';
import { addShortcuts } from '../../keyboard.ts';
import { query, setQuery } from '../../query.ts';
import { type Range, type TypedRange, isLive, presets, resolveRange } from '../../ranges.ts';
import { zoneOffsetMs } from '../../times.ts';

export interface DeviceRange {
  /** As it is typed, and in the address. */
  readonly typed: TypedRange;
  /** Now, or since the pause. */
  readonly range: Range;
  readonly isLive: boolean;
  readonly isPaused: boolean;
  readonly pausedAt: number | undefined;
  readonly error: { readonly field: 'from' | 'to'; readonly text: string } | undefined;
  readonly set: (typed: TypedRange) => void;
  readonly zoom: (from: number, to: number) => void;
  readonly zoomBack: () => void;
  readonly pan: (byMs: number) => void;
  readonly backToLive: () => void;
  readonly pause: (on: boolean) => void;
}

const first: TypedRange = { from: 'now-3h', to: 'now' };
const firstOnPhone: TypedRange = { from: 'now-1h', to: 'now' };
const rangeMsMin = 1_000;

/** The range of the page: from the address, moved on each second while it is live and not paused. */
export function useDeviceRange(focusField: () => void): DeviceRange {
  const usual = matchMedia('(max-width: 640px)').matches ? firstOnPhone : first;
  const typed = { from: query.value['from'] ?? usual.from, to: query.value['to'] ?? usual.to };
  const [pausedAt, setPausedAt] = useState<number>();
  const before = useRef<TypedRange[]>([]);
  const time = pausedAt ?? Math.max(now.value, serverNow());
  const resolved = resolveRange(typed, time, zoneOffsetMs(time));
  const last = useRef<Range>({ from: time - 3 * 3_600_000, to: time });
  if ('range' in resolved) last.current = resolved.range;
  const range = last.current;

  const set = (next: TypedRange) => setQuery({ from: next.from, to: next.to });
  const instants = (from: number, to: number): TypedRange => ({
    from: new Date(Math.round(from)).toISOString(),
    to: new Date(Math.round(to)).toISOString(),
  });
  const made: DeviceRange = {
    typed,
    range,
    isLive: isLive(typed),
    isPaused: pausedAt !== undefined,
    pausedAt,
    error: 'error' in resolved ? resolved.error : undefined,
    set,
    zoom: (from, to) => {
      if (to - from < rangeMsMin) return;
      before.current.push(typed);
      set(instants(from, to));
    },
    zoomBack: () => {
      const back = before.current.pop();
      if (back !== undefined) set(back);
    },
    pan: (byMs) => set(instants(range.from + byMs, range.to + byMs)),
    backToLive: () => {
      setPausedAt(undefined);
      before.current = [];
      set(usual);
    },
    pause: (on) => setPausedAt(on ? serverNow() : undefined),
  };
  const held = useRef(made);
  held.current = made;
  useEffect(() => {
    const scale = (factor: number) => {
      const { from, to } = held.current.range;
      const middle = held.current.isLive ? to : (from + to) / 2;
      held.current.zoom(middle - (middle - from) * factor, middle + (to - middle) * factor);
    };
    return addShortcuts([
      { keys: 'r', does: 'Type a range', run: focusField },
      ...presets.map((preset, index) => ({
        keys: String(index + 1),
        does: `The last ${preset.label}`,
        run: () => held.current.set(preset),
      })),
      { keys: '-', does: 'A longer range', run: () => scale(2) },
      { keys: '+', does: 'A shorter range', run: () => scale(0.5) },
      { keys: 'z', does: 'Zoom back', run: () => held.current.zoomBack() },
      { keys: ' ', does: 'Pause live, or go on', run: () => held.current.pause(!held.current.isPaused) },
    ]);
  }, []);
  return made;
}
