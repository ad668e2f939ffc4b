export interface RunningService {
  /** With user and password. */
  readonly url: string;
  readonly version: string;
  /** Where the data lies, in words or as a path. */
  readonly data: string;
  /** Settles, with a sentence, when a server that we started ends, whether stopped or by itself. */
  readonly ended?: Promise<string>;
  stop(): Promise<void>;
}

export interface RunningBroker extends RunningService {
  /** Base URL of the management HTTP API, with user and password. */
  readonly managementUrl: string;
}
