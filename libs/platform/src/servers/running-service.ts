import type { BrokerControl, ServerControl } from './server-control.ts';

export interface RunningService {
  /** With user and password. Another one, possibly, after `control` has started the server again. */
  readonly url: string;
  readonly version: string;
  /** Where the data lies, in words or as a path. */
  readonly data: string;
  /** Settles, with a sentence, when a server that we started ends and nobody asked for it. */
  readonly failed?: Promise<string>;
  /** Only of servers that we started. */
  readonly control?: ServerControl;
  stop(): Promise<void>;
}

export interface RunningBroker extends RunningService {
  /** Base URL of the management HTTP API, with user and password. */
  readonly managementUrl: string;
  readonly control?: BrokerControl;
}
