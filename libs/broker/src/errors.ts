/** A failure that retrying cannot fix: an operator has to change the configuration or the broker. */
export class PermanentBrokerError extends Error {
  override name = 'PermanentBrokerError';
}

/** An exchange or queue exists already, declared differently. */
export class TopologyMismatchError extends PermanentBrokerError {
  override name = 'TopologyMismatchError';
  /** Such as `queue 'telemetry.persist'`. */
  readonly entity: string;
  /** Such as `x-max-length`; undefined if the broker does not name it. */
  readonly argument: string | undefined;

  constructor(entity: string, argument: string | undefined, cause: Error) {
    const what = argument === undefined ? '' : `argument '${argument}' of `;
    super(
      `${what}${entity} differs from what this version declares; delete it once it is empty, or restore the old setting (${cause.message})`,
      { cause },
    );
    this.entity = entity;
    this.argument = argument;
  }
}

/** The connection was closed on purpose and does not reconnect. */
export class ConnectionClosedError extends Error {
  override name = 'ConnectionClosedError';
}

/**
 * Why a message has no confirm:
 * - `returned`: no queue received it (`basic.return`)
 * - `nacked`: the broker refused it, usually because a queue is at its length limit
 * - `confirm-timeout`: no confirm before the deadline; it may or may not be queued
 * - `channel-lost`: channel or connection ended before the confirm; it may or may not be queued
 * - `unavailable`: not sent, because there is no usable connection
 * - `window-full`: not sent, because the bound of messages or bytes in flight is reached
 */
export type PublishFailure = 'returned' | 'nacked' | 'confirm-timeout' | 'channel-lost' | 'unavailable' | 'window-full';

/** A publish that was not confirmed. Every kind may be retried later with the same identities. */
export class PublishError extends Error {
  override name = 'PublishError';
  readonly kind: PublishFailure;
  readonly messageId: string;

  constructor(kind: PublishFailure, messageId: string) {
    super(`message ${messageId} has no confirm: ${kind}`);
    this.kind = kind;
    this.messageId = messageId;
  }
}

/** The AMQP reply code of an error that the broker sent (AMQP 0-9-1, "Constants"); undefined for other errors. */
export function replyCode(error: unknown): number | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'number' ? code : undefined;
}

/** AMQP 0-9-1 reply codes that this library distinguishes. */
export const replyCodes = { notFound: 404, preconditionFailed: 406 } as const;
