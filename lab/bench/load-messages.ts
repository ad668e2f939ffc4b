/** Requests of the bench to its load generator, which gives one answer per request. */
export type LoadRequest =
  | {
      readonly type: 'connect';
      /** Of the ingest-ws instances; sockets are distributed evenly. */
      readonly urls: readonly string[];
      readonly tokens: readonly string[];
      readonly readingsPerFrame: number;
      readonly startTs: number;
      /** Sockets that the server drops reconnect at a random moment within this time, counted from the first drop. Without it, a drop is a failure. */
      readonly returnWithinMs?: number;
    }
  /** Sends as fast as acks allow, with this many readings in flight on each socket. */
  | { readonly type: 'flood'; readonly seconds: number; readonly readingsInFlight: number }
  /** Sends at an even rate, independently of acks. */
  | { readonly type: 'pace'; readonly seconds: number; readonly readingsPerSecond: number }
  /** Waits until every device has been dropped and has reconnected, or is refused for good. */
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
  /** How long after its due time a paced frame was sent. */
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
  /** Attempts that failed and were repeated. */
  readonly repeatedAttempts: number;
}
