import { expect, it } from 'vitest';
import { pauseContainer } from '../src/servers/containers.ts';

const unfrozen = new Error('(HTTP code 500) server error - OCI runtime pause failed: unable to freeze: unknown');

/** Answers each request with the next of these; the last one stays. */
function engine(...answers: (Error | undefined)[]) {
  let requests = 0;
  return {
    async pause() {
      const answer = answers[Math.min(requests++, answers.length - 1)];
      if (answer) throw answer;
    },
    requests: () => requests,
  };
}

it('a container whose processes could not be frozen in time is paused by asking again', async () => {
  const busy = engine(unfrozen, unfrozen, undefined);
  await pauseContainer(busy);
  expect(busy.requests()).toBe(3);
});

it('a container that can never be frozen is an error', async () => {
  await expect(pauseContainer(engine(unfrozen), 300)).rejects.toBe(unfrozen);
});

it('any other error is not asked for again', async () => {
  const gone = engine(new Error('(HTTP code 404) no such container'), undefined);
  await expect(pauseContainer(gone)).rejects.toThrow('no such container');
  expect(gone.requests()).toBe(1);
});
