import type { TokenMinter } from '@fleetwire/auth/tokens';
import type { Role } from '@fleetwire/contracts/access';
import type { LatestRow, StoreStatus } from '@fleetwire/store/readers';
import Type, { type Static, type TObject, type TProperties, type TSchema } from 'typebox';
import type { Caller } from './caller.ts';
import type { Circuit, GuardedDatabase } from './circuit.ts';
import type { DatabaseProbe } from './database-probe.ts';
import type { LastGood } from './last-good.ts';
import type { QueueMonitor } from './queues/queue-monitor.ts';

/** One circuit for all work on dead letters, over the pool that each query needs. */
interface DeadLetterDatabases {
  readonly light: GuardedDatabase;
  /** For queries that look at every dead letter. */
  readonly scans: GuardedDatabase;
  readonly writing: GuardedDatabase;
}

/** What handlers use; each takes the members it needs. One object, because routes are data that the OpenAPI document reads without a running service. */
export interface ApiContext {
  /** The database, with one circuit for each kind of query. */
  readonly latest: GuardedDatabase;
  readonly registry: GuardedDatabase;
  readonly history: GuardedDatabase;
  /** For queries that may read many rows for a short answer. */
  readonly scans: GuardedDatabase;
  readonly lastLatest: LastGood<LatestRow[]>;
  readonly lastStored: LastGood<StoreStatus>;
  readonly probe: DatabaseProbe;
  readonly circuits: readonly Circuit[];
  readonly queues: QueueMonitor;
  readonly deadLetters: DeadLetterDatabases;
  /** For acknowledgements of the reconciliation report; may write. */
  readonly acknowledging: GuardedDatabase;
  readonly minter: TokenMinter | undefined;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

interface PageBytes {
  readonly bytesMax: number;
  /** Counts the rows read against the budget of all answers. @throws {Problem} 503 */
  readonly onBytes: (bytes: number) => void;
}

/** What a handler gets: a parsed and authorized call. */
interface Call<P extends TProperties, Q extends TProperties, B extends TSchema> {
  readonly params: Static<TObject<P>>;
  readonly query: Static<TObject<Q>>;
  readonly body: Static<B>;
  readonly caller: Caller;
  /** Bounds of a page in bytes: for the readers of lists. */
  readonly pageBytes: PageBytes;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** One operation of the API; router, validation and OpenAPI document are derived from it. */
export interface Operation {
  readonly method: 'get' | 'post' | 'patch';
  /** Below `/api/v1`, with parameters in braces: `/devices/{id}`. */
  readonly path: string;
  readonly operationId: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  /** Roles that may call it. A device may only read itself: its id must be the path's `{id}`. */
  readonly roles: readonly Role[];
  readonly params: TObject;
  /** Members with a `default` are filled in; lists are separated by commas. */
  readonly query: TObject;
  readonly body?: TSchema;
  readonly success: { readonly status: 200 | 201 | 202; readonly description: string; readonly schema: TSchema };
  /** Problem statuses of this operation beside those that all operations share. */
  readonly problems: readonly number[];
}

export interface Route extends Operation {
  /** Typed by the route's own schemas: the router passes what it has parsed with them. */
  readonly handler: (call: never, api: ApiContext) => Promise<unknown>;
}

interface RouteDefinition<
  P extends TProperties,
  Q extends TProperties,
  B extends TSchema,
  R extends TSchema,
> extends Omit<Operation, 'params' | 'query' | 'body' | 'success' | 'problems'> {
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly success: { readonly status: 200 | 201 | 202; readonly description: string; readonly schema: R };
  readonly problems?: readonly number[];
  readonly handler: (call: Call<P, Q, B>, api: ApiContext) => Promise<Static<R>>;
}

/** Declares a route whose handler is checked against its own schemas. */
export function route<
  R extends TSchema,
  P extends TProperties = {},
  Q extends TProperties = {},
  B extends TSchema = TSchema,
>(definition: RouteDefinition<P, Q, B, R>): Route {
  const { params, query, problems = [], ...rest } = definition;
  return {
    ...rest,
    params: closed(params ?? {}),
    query: closed(query ?? {}),
    problems,
  };
}

/** Refuses unknown parameters: ignoring a misspelt one would give a wrong answer. */
export function closed(properties: TProperties): TObject {
  return Type.Object(properties, { additionalProperties: false });
}
