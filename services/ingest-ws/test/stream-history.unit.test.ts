import { expect, it } from 'vitest';
import { StreamHistory } from '../src/stream-history.ts';

it('the history of streams forgets the least recently used one beyond its bound', () => {
  const history = new StreamHistory({ streamsMax: 2 });
  history.remember('pump-1', 'a', 1);
  history.remember('pump-1', 'b', 2);
  expect(history.lastSeqOf('pump-1', 'a')).toBe(1);
  history.remember('pump-2', 'a', 3);
  expect(history.lastSeqOf('pump-1', 'b')).toBeUndefined();
  expect(history.lastSeqOf('pump-1', 'a')).toBe(1);
  expect(history.lastSeqOf('pump-2', 'a')).toBe(3);
});
