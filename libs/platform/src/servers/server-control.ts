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
