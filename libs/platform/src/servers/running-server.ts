/**
 * How a server ends: `orderly` by its usual shutdown; `immediate` by its emergency shutdown, which writes nothing (Postgres; RabbitMQ has none
 * and is killed); `killed` by SIGKILL of all its processes, as in a power cut.
 */
export type Ending = 'orderly' | 'immediate' | 'killed';

/** Breaks a server that this package started, and starts it again. Calls must not overlap. */
export interface ServerControl {
  /** Resolves when it has exited. Its data is kept. */
  end(how: Ending): Promise<void>;
  /** On the same data; resolves when it accepts connections. Read the URLs again: the ports may differ. */
  start(): Promise<void>;
  /** Suspends all its processes (SIGSTOP). Its connections stay open and silent. */
  pause(): Promise<void>;
  resume(): Promise<void>;
}

export interface BrokerControl extends ServerControl {
  /** Runs `rabbitmqctl` on the node. @returns what it printed */
  ctl(args: readonly string[]): Promise<string>;
}

export interface RunningServer {
  /** With user and password. It may differ after `control` has started the server again. */
  readonly url: string;
  readonly version: string;
  /** Where the data is, in words or as a path. */
  readonly data: string;
  /** Resolves with a sentence when a native server has exited unexpectedly and is not started again. */
  readonly failed?: Promise<string>;
  /** Only of servers that this package started. */
  readonly control?: ServerControl;
  stop(): Promise<void>;
}

export interface RunningBroker extends RunningServer {
  /** Base URL of the management HTTP API, with user and password. */
  readonly managementUrl: string;
  readonly control?: BrokerControl;
}
