import type { Role } from '@fleetwire/contracts/access';
import Type, { type Static, type TObject, type TProperties, type TSchema } from 'typebox';
import type { ApiContext } from './api-context.ts';
import type { Caller } from './caller.ts';

/** What a handler is given: everything parsed and allowed. */
interface Call<P extends TProperties, Q extends TProperties, B extends TSchema> {
  readonly params: Static<TObject<P>>;
  readonly query: Static<TObject<Q>>;
  readonly body: Static<B>;
  readonly caller: Caller;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** What an operation looks like from outside; the router, the validation and the OpenAPI document come from it. */
export interface Operation {
  readonly method: 'get' | 'post' | 'patch';
  /** Below `/api/v1`, with parameters in braces: `/devices/{id}`. */
  readonly path: string;
  readonly operationId: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  /** Who may call it. A device among them sees itself alone: its id must be the path's `{id}`. */
  readonly roles: readonly Role[];
  readonly params: TObject;
  /** Members with a `default` are filled in; lists are written with commas. */
  readonly query: TObject;
  readonly body?: TSchema;
  readonly success: { readonly status: 200 | 201 | 202; readonly description: string; readonly schema: TSchema };
  /** Statuses of problems that this operation adds to those that all share. */
  readonly problems: readonly number[];
}

export interface Route extends Operation {
  readonly handler: (call: Call<TProperties, TProperties, TSchema>, api: ApiContext) => Promise<unknown>;
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
    handler: definition.handler as unknown as Route['handler'],
  };
}

/** A misspelt parameter that is ignored gives a wrong answer: unknown ones are refused. */
export function closed(properties: TProperties): TObject {
  return Type.Object(properties, { additionalProperties: false });
}
