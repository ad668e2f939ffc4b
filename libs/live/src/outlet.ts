/** One message to a subscriber: `members` is the JSON text of its members without braces, and may be shared by many subscribers. */
export interface LiveOutput {
  readonly type: string;
  readonly id: string | undefined;
  readonly members: string;
  readonly cursor?: string | undefined;
}

/** Where a subscriber's messages go: a WebSocket, or a stream of server-sent events. */
export interface Outlet {
  write(output: LiveOutput): void;
  /** Bytes that the subscriber has not read. */
  readonly queuedBytes: number;
  close(code: number, reason: string): void;
}

/** The message as one JSON text. */
export function textOf({ type, id, members, cursor }: LiveOutput, withId = true): string {
  const head = id === undefined || !withId ? '' : `,"id":${JSON.stringify(id)}`;
  const tail = cursor === undefined ? '' : `,"cursor":"${cursor}"`;
  return `{"type":"${type}"${head}${members === '' ? '' : `,${members}`}${tail}}`;
}

/** The members of an object as {@link LiveOutput} has them. */
export function membersOf(value: object): string {
  return JSON.stringify(value).slice(1, -1);
}
