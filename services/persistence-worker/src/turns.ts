/** Work that may run side by side, and work that needs to be the only one running: while it waits or runs, nothing else begins. */
export class Turns {
  #sharing = 0;
  #alone: Promise<void> = Promise.resolve();
  #isClosed = false;
  #quiet: (() => void) | undefined;

  async share<T>(work: () => Promise<T>): Promise<T> {
    while (this.#isClosed) await this.#alone;
    this.#sharing += 1;
    try {
      return await work();
    } finally {
      this.#sharing -= 1;
      if (this.#sharing === 0) this.#quiet?.();
    }
  }

  async alone<T>(work: () => Promise<T>): Promise<T> {
    while (this.#isClosed) await this.#alone;
    this.#isClosed = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#alone = promise;
    try {
      if (this.#sharing > 0) await new Promise<void>((quiet) => (this.#quiet = quiet));
      return await work();
    } finally {
      this.#quiet = undefined;
      this.#isClosed = false;
      resolve();
    }
  }
}
