import type { ReadSession } from '@fleetwire/auth/authenticate';
import { type KeySource, thumbprintsOf } from '@fleetwire/auth/key-set';
import { type Claims, roles } from '@fleetwire/contracts/access';
import { closeCodes } from '@fleetwire/contracts/device-protocol';
import { SubscriptionSelection } from '@fleetwire/contracts/subscription';
import type { LiveHub } from '@fleetwire/live/live-hub';
import { type LiveOutput, type Outlet, textOf } from '@fleetwire/live/outlet';
import { Watcher } from '@fleetwire/live/watcher';
import {
  type Problem,
  badRequest,
  forbidden,
  notImplemented,
  tooManyRequests,
  unavailable,
} from '@fleetwire/runtime/problem';
import { Router, type Request, type RequestHandler, type Response } from 'express';
import Type from 'typebox';
import type { Authenticate, Caller } from './caller.ts';
import { jsonBody } from './json-body.ts';
import { refuseParameters } from './parameters.ts';
import { type Operation, closed } from './route.ts';

const id = 'stream';
const retryMs = 2_000;
const commentIntervalMs = 15_000;
/** A stream ends within 5 s after its key: this, and the time after which a changed file of keys is read. */
const keyCheckMs = 1_000;
/** The longest time of a JavaScript timer. */
const timerMsMax = 2 ** 31 - 1;

export interface LiveStreamOptions {
  /** Undefined where no broker is configured. */
  readonly hub: LiveHub | undefined;
  readonly authenticate: Authenticate;
  readonly limitCalls: RequestHandler;
  readonly streamsPerCallerMax: number;
  readonly bodyBytesMax: number;
  /** Tokens may be signed with these now; undefined in open mode. */
  readonly keys: KeySource | undefined;
  readonly readSession: ReadSession;
}

/** Live data as server-sent events: one subscription for each stream. */
export function liveStreams(options: LiveStreamOptions): { readonly router: Router; closeAll(): void } {
  const { hub, authenticate, limitCalls, streamsPerCallerMax, bodyBytesMax, keys, readSession } = options;
  const open = new Map<string, Set<EventStream>>();

  const stream = async (request: Request, response: Response, subscription: object): Promise<void> => {
    if (hub === undefined) throw notImplemented('Live data needs AMQP_URL, which this instance does not have');
    const caller = response.locals['caller'] as Caller;
    const key = `${caller.role} ${caller.sub}`;
    const own = open.get(key) ?? new Set();
    if (own.size >= streamsPerCallerMax)
      throw tooManyRequests(
        `You have ${own.size} live streams; at most ${streamsPerCallerMax} (SSE_STREAMS_PER_CALLER_MAX). Close one first`,
        1_000,
      );
    const events = new EventStream(response, caller);
    const watcher = new Watcher(hub, subscriberOf(caller), events);
    const resume = request.headers['last-event-id'];
    const { since: _, ...resumed } = subscription as { since?: unknown };
    open.set(key, own.add(events));
    const expiry = setTimeout(
      () => events.close(closeCodes.unauthorised, 'the token has expired'),
      Math.min(timerMsMax, caller.expiresAt === undefined ? timerMsMax : Math.max(0, caller.expiresAt - Date.now())),
    );
    const end = (): void => {
      clearTimeout(expiry);
      events.stop();
      watcher.close();
      own.delete(events);
      // Called twice for a refused stream: by then the caller may have another one, in another set.
      if (own.size === 0 && open.get(key) === own) open.delete(key);
    };
    response.once('close', end);
    await watcher.subscribe(
      typeof resume === 'string' && resume !== '' ? { ...resumed, cursor: resume, id } : { ...subscription, id },
    );
    if (events.refusal === undefined) return;
    end();
    throw events.refusal;
  };

  const checkSession = async (events: EventStream, session: string): Promise<void> => {
    // While it cannot be read the stream goes on, until it expires.
    const read = await readSession(session).catch(() => undefined);
    if (read?.ok === false) events.close(closeCodes.unauthorised, 'the session has ended');
  };
  const checkKeys = async (): Promise<void> => {
    if (keys === undefined || open.size === 0) return;
    const current = await thumbprintsOf(await keys.current());
    for (const streams of open.values())
      for (const events of streams)
        if (events.key !== undefined && !current.has(events.key))
          events.close(closeCodes.unauthorised, 'the key of the token was removed');
        else if (events.session !== undefined) void checkSession(events, events.session);
  };
  const checking = setInterval(() => void checkKeys(), keyCheckMs);

  const router = Router({ caseSensitive: true, strict: true });
  const checks: RequestHandler[] = [
    async (request, response, next) => {
      response.locals['caller'] = await authenticate(request);
      next();
    },
    limitCalls,
  ];
  router.get('/live', ...checks, (request, response) => stream(request, response, subscriptionOf(request.query)));
  router.post('/live', ...checks, ...jsonBody(bodyBytesMax), (request, response) => {
    refuseParameters(request);
    const body: unknown = request.body;
    if (typeof body !== 'object' || body === null || Array.isArray(body))
      throw badRequest('The body is not valid', [
        { field: 'body', detail: 'is missing or no JSON object; expected a subscription: docs/live.md' },
      ]);
    return stream(request, response, body);
  });
  return {
    router,
    closeAll: () => {
      clearInterval(checking);
      for (const streams of open.values())
        for (const events of streams) events.close(closeCodes.draining, 'this instance is shutting down');
    },
  };
}

/** One answer of server-sent events (WHATWG HTML, 9.2). What it is refused for is kept until the first message shows that it is not. */
class EventStream implements Outlet {
  readonly #response: Response;
  readonly #comments: NodeJS.Timeout;
  readonly key: string | undefined;
  readonly session: string | undefined;
  refusal: Problem | undefined;

  constructor(response: Response, { key, session }: Pick<Caller, 'key' | 'session'>) {
    this.key = key;
    this.session = session;
    this.#response = response;
    this.#comments = setInterval(() => this.#write(': \n\n'), commentIntervalMs);
  }

  get queuedBytes(): number {
    return this.#response.writableLength;
  }

  write(output: LiveOutput): void {
    if (this.refusal !== undefined) return;
    if (!this.#response.headersSent) {
      if (output.type === 'error') {
        const { code, message } = JSON.parse(`{${output.members}}`) as { code: string; message: string };
        this.refusal = refusalOf(code, message);
        return;
      }
      this.#response.writeHead(200, {
        'Content-Type': 'text/event-stream',
        'Cache-Control': 'no-store',
        'X-Accel-Buffering': 'no',
      });
      this.#response.write(`retry: ${retryMs}\n\n`);
    }
    const cursor = output.cursor === undefined ? '' : `id: ${output.cursor}\n`;
    this.#write(`event: ${output.type}\n${cursor}data: ${textOf(output, false)}\n\n`);
  }

  close(code: number, reason: string): void {
    this.#write(`event: closing\ndata: ${JSON.stringify({ code, reason })}\n\n`);
    this.end();
  }

  end(): void {
    this.stop();
    this.#response.end();
  }

  stop(): void {
    clearInterval(this.#comments);
  }

  #write(text: string): void {
    if (this.#response.headersSent && !this.#response.writableEnded && !this.#response.destroyed)
      this.#response.write(text);
  }
}

function refusalOf(code: string, message: string): Problem {
  if (code === 'forbidden') return forbidden(message);
  if (code === 'too-many-subscriptions') return tooManyRequests(message, 1_000);
  if (code === 'registry-unavailable') return unavailable(message, 1_000);
  return badRequest(message, [
    { field: code.startsWith('cursor') ? 'cursor' : 'subscription', detail: `${message} (${code})` },
  ]);
}

function subscriberOf({ sub, role, authorization, expiresAt }: Caller): { claims: Claims; token: string | undefined } {
  const exp = expiresAt === undefined ? {} : { exp: expiresAt / 1_000 };
  return { claims: { sub, role, ...exp }, token: authorization?.replace(/^bearer\s+/i, '') };
}

/** @throws {Problem} 400 for a parameter that is not known, or given twice */
function subscriptionOf(query: Request['query']): object {
  const subscription: Record<string, unknown> = {};
  for (const [name, text] of Object.entries(query)) {
    const field = `query.${name}`;
    if (!(name in SubscriptionSelection.properties))
      throw badRequest('Some parameters are not valid', [{ field, detail: 'is not a parameter of this route' }]);
    if (typeof text !== 'string')
      throw badRequest('Some parameters are not valid', [{ field, detail: 'is given more than once' }]);
    if (['devices', 'metrics', 'pattern', 'tag', 'events'].includes(name)) subscription[name] = text.split(',');
    else subscription[name] = name === 'maxRateHz' ? Number(text) : text;
  }
  return subscription;
}

const shared = {
  tag: 'Live',
  roles: [...roles],
  params: closed({}),
  headers: closed({
    'last-event-id': Type.Optional(
      Type.String({ description: 'Resumes: the id of the last event, which is a cursor' }),
    ),
  }),
  success: {
    status: 200,
    description: 'Server-sent events; `event` is the type of a message, `id` the cursor, `data` the message',
    contentType: 'text/event-stream',
    schema: Type.String(),
  },
  problems: [501],
} as const;

/** For the OpenAPI document. */
export const liveStreamOperations: readonly Operation[] = [
  {
    ...shared,
    method: 'get',
    path: '/live',
    operationId: 'watchLive',
    summary: 'Watch readings as they arrive',
    description: 'Messages and fields are those of `subscribe` on /ws: docs/live.md. Lists are separated by commas.',
    query: SubscriptionSelection,
  },
  {
    ...shared,
    method: 'post',
    path: '/live',
    operationId: 'watchLiveByBody',
    summary: 'The same with the subscription in the body, for long filters',
    query: closed({}),
    body: SubscriptionSelection,
  },
];
