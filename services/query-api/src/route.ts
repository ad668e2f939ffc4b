import type { KeySource } from '@fleetwire/auth/key-set';
import type { TokenMinter } from '@fleetwire/auth/tokens';
import type { PlainControl } from '@fleetwire/contracts/plain-dialect';
import type { Role } from '@fleetwire/contracts/access';
import type { LatestRow, StoreStatus, newestLatest } from '@fleetwire/store/readers';
import Type, { type Static, type TNever, type TObject, type TProperties, type TSchema } from 'typebox';
import type { Counter } from '@fleetwire/runtime/metrics';
import type { Caller } from './caller.ts';
import type { Circuit, GuardedDatabase } from './circuit.ts';
import type { TellCommands } from './commands/command-events.ts';
import type { ChangesReport } from './changes/changes-metrics.ts';
import type { CommandWaits } from './commands/command-waits.ts';
import type { DatabaseProbe } from './database-probe.ts';
import type { ExportStreams } from './exports/export-stream.ts';
import type { ExportJobs } from './export-jobs/start.ts';
import type { IngestClient } from './devices/ingest-client.ts';
import type { LastGood } from './last-good.ts';
import type { QuestionCost } from './question-costs.ts';
import type { Instances } from './instances.ts';
import type { PresentAlarms } from './queues/present-alarms.ts';
import type { QueueMonitor } from './queues/queue-monitor.ts';
import type { SeriesLimits } from './series/cost.ts';

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
  /** For streams of live history, each of which holds a connection, and for positions. */
  readonly live: GuardedDatabase;
  /** For opening a stream of live history: less than the circuit's timeout. */
  readonly openingMsMax: number;
  /** May write. */
  readonly registryChanges: GuardedDatabase;
  readonly history: GuardedDatabase;
  /** For exports, each of which holds a connection. */
  readonly exports: GuardedDatabase;
  readonly exportStreams: ExportStreams;
  /** Undefined without EXPORTS_DIR and EXPORT_S3_BUCKET. */
  readonly exportJobs: ExportJobs | undefined;
  /** For queries that may read many rows for a short answer. */
  readonly scans: GuardedDatabase;
  /** For questions about series, by the role of the caller. */
  readonly seriesLimits: (role: Role) => SeriesLimits;
  readonly lastLatest: LastGood<LatestRow[]>;
  readonly lastStored: LastGood<StoreStatus>;
  readonly lastNewest: LastGood<Awaited<ReturnType<typeof newestLatest>>>;
  readonly instances: Pick<Instances, 'heard' | 'hearsAll' | 'isConnected' | 'readEdges'>;
  /** To the sockets of the plain dialect, on all instances. */
  readonly tellControl: (control: PlainControl) => void;
  readonly presentAlarms: PresentAlarms;
  readonly probe: DatabaseProbe;
  readonly circuits: readonly Circuit[];
  readonly queues: QueueMonitor;
  readonly deadLetters: DeadLetterDatabases;
  /** For acknowledgements of the reconciliation report; may write. */
  readonly acknowledging: GuardedDatabase;
  readonly changes: ChangesReport;
  readonly commands: {
    /** Undefined without AMQP_URL: calls then do not wait. */
    readonly waits: CommandWaits | undefined;
    readonly pendingPerDeviceMax: number;
    readonly timeoutMsMax: number;
    readonly targetsMax: number;
    readonly tell: TellCommands;
    /** Counts commands by the state that they enter. */
    readonly entered: Counter<'state'>;
  };
  readonly minter: TokenMinter | undefined;
  readonly ingest: IngestClient | undefined;
  /** With at least one private key. */
  readonly signingKeys: KeySource | undefined;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** Spread into the options of a reader of lists. */
interface PageBytes {
  readonly bytesMax: number;
  /** Counts the rows read against the budget of all answers. @throws {Problem} 503 */
  readonly onBytes: (bytes: number) => void;
  /** Ends the query in Postgres when the client is gone. */
  readonly signal: AbortSignal;
}

/** What a handler gets: a parsed and authorized call. */
interface Call<P extends TProperties, Q extends TProperties, B extends TSchema, H extends TProperties> {
  readonly params: Static<TObject<P>>;
  readonly query: Static<TObject<Q>>;
  readonly headers: Static<TObject<H>>;
  readonly body: Static<B>;
  readonly caller: Caller;
  /** Bounds of a page in bytes: for the readers of lists. */
  readonly pageBytes: PageBytes;
  /**
   * To be called by a question once its cost is estimated, before it runs: takes the units from the bucket of the caller
   * (QUERY_COST_PER_MINUTE), writes the RateLimit headers, and counts cost and time by class. `class` says on which pool it runs: cheap ones
   * on `history`, expensive ones on `scans`. @throws {Problem} 429
   */
  readonly charge: (cost: QuestionCost) => void;
  /** Sets a header of the answer; `success.headers` declares it. */
  readonly setHeader: (name: string, value: string) => void;
  /** Answers with `success.alternative`. */
  readonly setStatus: (status: 202) => void;
  /** Aborts when the client is gone (of a question: all clients that have asked it); to be given to what it would wait for. */
  readonly signal: AbortSignal;
  /** Epoch milliseconds. */
  readonly now: number;
}

interface Success<R extends TSchema, A extends TSchema> {
  /** With 204 nothing is sent, whatever the schema. */
  readonly status: 200 | 201 | 202 | 204;
  readonly description: string;
  readonly schema: R;
  /** `application/json` if undefined. */
  readonly contentType?: string;
  readonly example?: unknown;
  /** What it answers in another case. */
  readonly alternative?: {
    readonly status: 202;
    readonly description: string;
    readonly schema: A;
    readonly headers?: Readonly<Record<string, string>>;
  };
  /** Headers of the answer, each with its meaning. */
  readonly headers?: Readonly<Record<string, string>>;
  /** It is a file, of which parts may be asked for (206), and whether it has changed (304). Headers of these answers, each with its meaning. */
  readonly parts?: Readonly<Record<string, string>>;
}

/** One operation of the API; router, validation and OpenAPI document are derived from it. */
export interface Operation {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** Below `/api/v1`, with parameters in braces: `/devices/{id}`. */
  readonly path: string;
  readonly operationId: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  /** Roles that may call it. A device may only read itself: its id must be the path's `{id}`. */
  readonly roles: readonly Role[];
  /** The path names no device: the handler sees to it that a device reads only itself. */
  readonly ownDataOnly?: 'checked-by-handler';
  readonly params: TObject;
  /** Members with a `default` are filled in; lists are separated by commas. */
  readonly query: TObject;
  /** Request headers that it reads, in lower case. */
  readonly headers: TObject;
  readonly body?: TSchema;
  /** What the body is sent as; `application/json` if undefined, which is accepted in every case. */
  readonly bodyType?: string;
  readonly bodyExample?: unknown;
  /**
   * A question about stored readings: it changes nothing, and its answer is the same for all callers that may read the same. Equal ones in
   * flight share one execution, and while the database is away the last good answer is told, with `stale` and `asOf`
   * ({@link questionFreshness}); the handler need not give these members. With DATABASE_READ_URL `history` and `scans` are those of the
   * replica, and `covers` gets `replicaLagMs`.
   */
  readonly question?: true;
  /**
   * The answer has an ETag, of all of it but `cost`, `asOf` and `completeUntil`, and If-None-Match is answered with 304; not while the range
   * in `covers` has not ended.
   */
  readonly conditional?: true;
  readonly success: Success<TSchema, TSchema>;
  /** Problem statuses of this operation beside those that all operations share. With 422, a body that breaks a limit gets it, not 400. */
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
  H extends TProperties,
  R extends TSchema,
  A extends TSchema,
> extends Omit<Operation, 'params' | 'query' | 'headers' | 'body' | 'success' | 'problems'> {
  readonly params?: P;
  readonly query?: Q;
  readonly headers?: H;
  readonly body?: B;
  readonly success: Success<R, A>;
  readonly problems?: readonly number[];
  readonly handler: (call: Call<P, Q, B, H>, api: ApiContext) => Promise<Static<R> | Static<A>>;
}

/** Declares a route whose handler is checked against its own schemas. */
export function route<
  R extends TSchema,
  P extends TProperties = {},
  Q extends TProperties = {},
  B extends TSchema = TSchema,
  H extends TProperties = {},
  A extends TSchema = TNever,
>(definition: RouteDefinition<P, Q, B, H, R, A>): Route {
  const { params, query, headers, problems = [], ...rest } = definition;
  return {
    ...rest,
    params: closed(params ?? {}),
    query: closed(query ?? {}),
    headers: closed(headers ?? {}),
    problems,
  };
}

/** Refuses unknown parameters: ignoring a misspelt one would give a wrong answer. */
export function closed(properties: TProperties): TObject {
  return Type.Object(properties, { additionalProperties: false });
}
