export interface RunningService {
  /** With user and password. */
  readonly url: string;
  readonly version: string;
  /** Where the data lies, in words or as a path. */
  readonly data: string;
  stop(): Promise<void>;
}

export interface RunningBroker extends RunningService {
  /** Base URL of the management HTTP API, with user and password. */
  readonly managementUrl: string;
}
