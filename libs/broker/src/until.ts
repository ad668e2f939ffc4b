/** Adds a listener that is called after every change; returns the function that removes it. */
export type Subscribe = (listener: () => void) => () => void;

/**
 * Resolves as soon as `holds()` is true, which is looked at now and after every change.
 * Rejects with what `holds()` throws, or with the signal's reason.
 */
export function until(holds: () => boolean, onChange: Subscribe, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let unsubscribe = () => {};
    const finish = (settle: () => void) => {
      unsubscribe();
      signal?.removeEventListener('abort', look);
      settle();
    };
    const look = () => {
      try {
        if (signal?.aborted) finish(() => reject(signal.reason));
        else if (holds()) finish(resolve);
      } catch (error) {
        finish(() => reject(error));
      }
    };
    unsubscribe = onChange(look);
    signal?.addEventListener('abort', look);
    look();
  });
}
