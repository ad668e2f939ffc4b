/**
 * How a server ends: `orderly` as its maker wishes it, `immediate` by its own emergency stop, which writes nothing down (Postgres; RabbitMQ has
 * none and is killed), `killed` by SIGKILL of all its processes at once, as by a power cut.
 */
export type Ending = 'orderly' | 'immediate' | 'killed';

/** Breaks a server that we started, and mends it. Calls must not overlap. */
export interface ServerControl {
  /** Resolves when it has ended. Its data stays. */
  end(how: Ending): Promise<void>;
  /** On the same data; resolves when it takes connections. Read the URLs again: they may name other ports. */
  start(): Promise<void>;
  /** Stops all its processes where they are. Its connections stay open, and silent. */
  pause(): Promise<void>;
  resume(): Promise<void>;
}

export interface BrokerControl extends ServerControl {
  /** Runs `rabbitmqctl` on the node. @returns what it printed */
  ctl(args: readonly string[]): Promise<string>;
}

export interface RunningServer {
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

export interface RunningBroker extends RunningServer {
  /** Base URL of the management HTTP API, with user and password. */
  readonly managementUrl: string;
  readonly control?: BrokerControl;
}
