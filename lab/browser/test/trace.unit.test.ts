import { expect, test } from 'vitest';
import { frameMark, framesOf } from '../bench/trace.ts';

const main = { pid: 7, tid: 1 };
const call = (name: string, ts: number, dur: number, thread = main) => ({ name, ph: 'X', ts, dur, ...thread });
const mark = (ts: number) => ({ name: frameMark, ph: 'I', ts, ...main });
const trace = (events: readonly object[]) => Buffer.from(JSON.stringify({ traceEvents: events }));

test('each moment of a script counts once, in the frame that it is in', () => {
  const { scriptMs, seconds } = framesOf(
    trace([
      mark(0),
      call('RunTask', 0, 6_000),
      call('FireAnimationFrame', 1_000, 4_000),
      call('FunctionCall', 2_000, 2_000),
      mark(16_000),
      // It begins in one frame and ends in the next.
      call('TimerFire', 30_000, 4_000),
      mark(32_000),
      call('FunctionCall', 33_000, 9_000, { pid: 7, tid: 2 }),
      mark(48_000),
    ]),
  );
  expect(scriptMs).toEqual([4, 2, 2]);
  expect(seconds).toBeCloseTo(0.048);
});

test('a trace without frames proves nothing', () => {
  expect(() => framesOf(trace([call('FunctionCall', 0, 1)]))).toThrow('no frames');
});
