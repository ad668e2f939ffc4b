/** What the bench tells its load generator, and what it answers: one answer a request. */
export type LoadRequest =
  | {
      readonly type: 'connect';
      /** Of the ingest instances; the sockets are shared out among them. */
      readonly urls: readonly string[];
      readonly tokens: readonly string[];
      readonly readingsPerFrame: number;
      readonly startTs: number;
    }
  /** As fast as acks allow, with this much in flight on each socket. */
  | { readonly type: 'flood'; readonly seconds: number; readonly readingsInFlight: number }
  /** Evenly, whatever the acks do. */
  | { readonly type: 'pace'; readonly seconds: number; readonly readingsPerSecond: number }
  | { readonly type: 'disconnect' };

export type LoadAnswer =
  | { readonly type: 'done'; readonly result: LoadResult }
  | { readonly type: 'failed'; readonly message: string };

export type LoadResult = {
  readonly readings: number;
  readonly frames: number;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly nackedReadings: number;
  /** Of frames, from when they were due. */
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
};
