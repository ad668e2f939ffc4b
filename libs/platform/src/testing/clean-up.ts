import { TestRunner, afterAll, onTestFinished } from 'vitest';

/**
 * Undoes what a helper has set up: after the running test, or after the suite that is being collected; the last registered is undone first.
 * (Vitest silently ignores an `afterAll` inside a test.)
 */
export function cleanUp(undo: () => unknown): void {
  const register = TestRunner.getCurrentTest() === undefined ? afterAll : onTestFinished;
  register(async () => {
    await undo();
  });
}
