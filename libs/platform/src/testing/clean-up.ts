import { TestRunner, afterAll, onTestFinished } from 'vitest';

/**
 * Undoes what a helper has set up, when its user is done: after the test that is running, or after the suite that is being collected.
 * Last come, first undone. (Vitest ignores an `afterAll` inside a test without a word.)
 */
export function cleanUp(undo: () => unknown): void {
  const register = TestRunner.getCurrentTest() === undefined ? afterAll : onTestFinished;
  register(async () => {
    await undo();
  });
}
