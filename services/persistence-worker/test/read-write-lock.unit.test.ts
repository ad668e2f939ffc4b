import { expect, it } from 'vitest';
import { ReadWriteLock } from '../src/read-write-lock.ts';

it('starts exclusive work when the shared work has ended, and runs it alone', async () => {
  const lock = new ReadWriteLock();
  const events: string[] = [];
  const gate = Promise.withResolvers<void>();
  const work =
    (name: string, until: Promise<unknown> = Promise.resolve()) =>
    async () => {
      events.push(`${name} begins`);
      await until;
      events.push(`${name} ends`);
    };
  const first = lock.shared(work('first', gate.promise));
  const exclusive = Promise.all([lock.exclusive(work('exclusive')), lock.exclusive(work('exclusive too'))]);
  const second = lock.shared(work('second'));
  gate.resolve();
  await Promise.all([first, exclusive, second]);
  expect(events.join(', ')).toMatch(
    /^first begins, first ends, (exclusive begins, exclusive ends, .*|second begins, second ends, exclusive too begins.*)/,
  );
  const at = (event: string) => events.indexOf(event);
  for (const name of ['exclusive', 'exclusive too']) expect(at(`${name} ends`)).toBe(at(`${name} begins`) + 1);
});
