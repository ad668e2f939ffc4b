import { TestRunner, afterAll, onTestFinished } from 'vitest';

const undoMsMax = 180_000;

/**
 * Undoes what a helper has set up: after the running test; called in `beforeAll`, after the tests of the file; else after the suite that is being
 * collected. The last registered is undone first.
 */
export function cleanUp(undo: () => unknown): void {
  const run = async (): Promise<void> => {
    await undo();
  };
  if (TestRunner.getCurrentTest() !== undefined) return onTestFinished(run);
  const { file } = TestRunner.getCurrentSuite();
  // Vitest silently ignores an `afterAll` once the file is collected, and has the hooks of the file from then on.
  const hooks = file && (TestRunner.getSuiteHooks(file) as ReturnType<typeof TestRunner.getSuiteHooks> | undefined);
  if (hooks === undefined) return afterAll(run);
  hooks.afterAll.push(() => withinTime(run()));
}

/** As Vitest bounds its own hooks. */
async function withinTime(undoing: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`not undone within ${undoMsMax} ms`)), undoMsMax);
  try {
    await Promise.race([undoing, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
