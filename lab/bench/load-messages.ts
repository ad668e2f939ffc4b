/** What the bench tells its load generator, and what it answers: one answer a request. */
export type LoadRequest =
  | {
      readonly type: 'connect';
      /** Of the ingest instances; the sockets are shared out among them. */
      readonly urls: readonly string[];
      readonly tokens: readonly string[];
      readonly readingsPerFrame: number;
      readonly startTs: number;
      /** Sockets that the server drops come back at a random moment within, counted from the first; without it, that is a failure. */
      readonly returnWithinMs?: number;
    }
  /** As fast as acks allow, with this much in flight on each socket. */
  | { readonly type: 'flood'; readonly seconds: number; readonly readingsInFlight: number }
  /** Evenly, whatever the acks do. */
  | { readonly type: 'pace'; readonly seconds: number; readonly readingsPerSecond: number }
  /** Waits until every device has been dropped and is back, or is refused for good. */
  | { readonly type: 'return' }
  | { readonly type: 'disconnect' };

export type ResultOf<Request extends LoadRequest> = Request extends { type: 'return' } ? ReturnResult : LoadResult;

export type LoadAnswer =
  | { readonly type: 'done'; readonly result: LoadResult | ReturnResult }
  | { readonly type: 'failed'; readonly message: string };

export interface LoadResult {
  readonly readings: number;
  readonly frames: number;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly nackedReadings: number;
  /** How long after it was due a paced frame was sent. */
  readonly lateP99Ms: number;
  /** Of frames, from sending one to its ack. */
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
}

export interface ReturnResult {
  /** From the first socket lost to the last hello. */
  readonly seconds: number;
  readonly refusedDevices: number;
  /** From the attempt that succeeded to its hello. */
  readonly helloP99Ms: number;
  /** Beyond one a device: attempts that failed in passing. */
  readonly repeatedAttempts: number;
}
