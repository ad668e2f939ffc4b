/** A page that is traced marks each of its frames with it. */
export const frameMark = 'fleetwire-frame';

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly ts: number;
  readonly dur?: number;
}

export interface Frames {
  /** Of each frame, what its scripts took, in milliseconds. */
  readonly scriptMs: readonly number[];
  readonly seconds: number;
}

const scriptNames = new Set([
  'FunctionCall',
  'EvaluateScript',
  'v8.callFunction',
  'RunMicrotasks',
  'TimerFire',
  'FireAnimationFrame',
  'EventDispatch',
  'MinorGC',
  'MajorGC',
  'V8.GCScavenger',
  'V8.GCFinalizeMC',
]);

/** Divides a trace into the frames of the page that marked them. */
export function framesOf(trace: Buffer): Frames {
  const { traceEvents } = JSON.parse(trace.toString('utf8')) as { readonly traceEvents: readonly TraceEvent[] };
  const marks = traceEvents.filter(({ name }) => name === frameMark).toSorted((a, b) => a.ts - b.ts);
  const [first] = marks;
  const last = marks.at(-1);
  if (first === undefined || last === undefined || first === last) throw new Error('the trace has no frames');
  const own = traceEvents.filter(({ pid, tid, ph }) => pid === first.pid && tid === first.tid && ph === 'X');
  const starts = marks.map(({ ts }) => ts);
  const scripts = own.filter(({ name }) => scriptNames.has(name));
  return { scriptMs: shared(starts, unionOf(scripts)), seconds: (last.ts - first.ts) / 1e6 };
}

interface Stretch {
  readonly from: number;
  readonly to: number;
}

/** One call is part of another one: each moment counts once. */
function unionOf(events: readonly TraceEvent[]): Stretch[] {
  const union: { from: number; to: number }[] = [];
  for (const { ts, dur = 0 } of events.toSorted((a, b) => a.ts - b.ts)) {
    const before = union.at(-1);
    if (before !== undefined && ts <= before.to) before.to = Math.max(before.to, ts + dur);
    else union.push({ from: ts, to: ts + dur });
  }
  return union;
}

/** How much of the stretches lies in each frame, in milliseconds. A frame ends with the mark of the next one. */
function shared(starts: readonly number[], stretches: readonly Stretch[]): number[] {
  const sums = Array.from({ length: starts.length - 1 }, () => 0);
  let frame = 0;
  for (const { from, to } of stretches) {
    while (frame + 1 < starts.length && starts[frame + 1]! <= from) frame += 1;
    for (let at = frame; at + 1 < starts.length && starts[at]! < to; at += 1)
      sums[at]! += Math.max(0, Math.min(to, starts[at + 1]!) - Math.max(from, starts[at]!)) / 1_000;
  }
  return sums;
}
