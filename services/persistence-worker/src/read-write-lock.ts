/** An asynchronous read-write lock: shared work runs side by side, exclusive work alone. Nothing starts while exclusive work waits or runs. */
export class ReadWriteLock {
  #sharing = 0;
  #exclusive: Promise<void> = Promise.resolve();
  #isClosed = false;
  #onIdle: (() => void) | undefined;

  async shared<T>(work: () => Promise<T>): Promise<T> {
    while (this.#isClosed) await this.#exclusive;
    this.#sharing += 1;
    try {
      return await work();
    } finally {
      this.#sharing -= 1;
      if (this.#sharing === 0) this.#onIdle?.();
    }
  }

  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    while (this.#isClosed) await this.#exclusive;
    this.#isClosed = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#exclusive = promise;
    try {
      if (this.#sharing > 0) await new Promise<void>((idle) => (this.#onIdle = idle));
      return await work();
    } finally {
      this.#onIdle = undefined;
      this.#isClosed = false;
      resolve();
    }
  }
}
