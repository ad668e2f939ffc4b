import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type AcksMode, acksModes } from '@fleetwire/contracts/device-protocol';
import { Epoch } from '@fleetwire/contracts/identifiers';
import { parserOf } from '@fleetwire/contracts/schema-issue';
import { clientAddress } from '@fleetwire/runtime/client-address';
import { beginRequestSpan } from '@fleetwire/runtime/http-tracing';
import type { Logger } from '@fleetwire/runtime/logger';
import { checkUpgradeOrigin, type OriginOptions } from '@fleetwire/runtime/origins';
import { Problem, badRequest, notFound, problemMediaType, unavailable } from '@fleetwire/runtime/problem';
import type { BegunSpan, Tracer } from '@fleetwire/runtime/trace-context';
import { type WebSocket, WebSocketServer } from 'ws';
import { type Authenticate, type Caller, chooseSubprotocol, offersFullDialect } from './authentication.ts';
import type { ConnectionLimits } from './connection-limits.ts';
import type { IngestMetrics } from './metrics.ts';
import { PlainGreeting } from './plain-greeting.ts';
import type { PresenceReporter } from './presence-reporter.ts';
import { Session } from './session.ts';
import type { SessionContext } from './session-context.ts';
import type { Sessions } from './sessions.ts';

export interface DeviceSocketOptions {
  readonly server: Server;
  readonly authenticate: Authenticate;
  readonly origins: OriginOptions;
  readonly sessions: Sessions;
  readonly context: SessionContext;
  readonly connectionLimits: ConnectionLimits;
  readonly presence: PresenceReporter;
  readonly trustProxyHops: number;
  readonly metrics: IngestMetrics;
  readonly logger: Logger;
  readonly tracer: Tracer;
  readonly isDraining: () => boolean;
}

/** An upgrade that is answered with 101. */
interface AcceptedUpgrade {
  readonly caller: Caller;
  readonly address: string;
  readonly epoch: string | undefined;
  readonly acks: AcksMode | undefined;
  readonly isPlain: boolean;
}

const socketPath = '/ws';
const parseEpoch = parserOf(Epoch);

/** Serves `/ws`: authenticates every upgrade before answering 101, and opens a session for it. */
export function serveDeviceSockets(options: DeviceSocketOptions): void {
  const {
    server,
    authenticate,
    sessions,
    context,
    connectionLimits,
    presence,
    trustProxyHops,
    metrics,
    logger,
    tracer,
    isDraining,
  } = options;
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: context.limits.payloadBytesMax,
    // Acks are written past ws (`Outbound.sendAck`): with compression on they would overtake the nacks that must come first.
    perMessageDeflate: false,
    handleProtocols: chooseSubprotocol,
  });

  const checkNotDraining = (): void => {
    if (isDraining()) throw unavailable('This instance is shutting down', 1_000);
  };

  const check = async (request: IncomingMessage): Promise<AcceptedUpgrade> => {
    const target = URL.parse(request.url ?? '/', 'http://localhost');
    if (target === null) throw badRequest('The request target is not a URL');
    const { pathname, searchParams } = target;
    if (pathname !== socketPath) throw notFound(`Devices connect to ${socketPath}`);
    checkUpgradeOrigin(request.headers, options.origins);
    checkNotDraining();
    const address = clientAddress(request, trustProxyHops);
    const refusal = connectionLimits.refusal(address);
    if (refusal !== undefined) throw refusal;
    const epoch = searchParams.get('epoch');
    const parsed = epoch === null ? undefined : parseEpoch(epoch);
    if (parsed?.ok === false) throw badRequest(`epoch ${parsed.issue.message}`);
    const asked = searchParams.get('acks');
    const acks = acksModes.find((mode) => mode === asked);
    if (asked !== null && acks === undefined) throw badRequest(`acks must be one of ${acksModes.join(', ')}`);
    const isPlain = !offersFullDialect(request.headers['sec-websocket-protocol']);
    return { caller: await authenticate(request), address, epoch: epoch ?? undefined, acks, isPlain };
  };

  const upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer, span: BegunSpan): Promise<void> => {
    const accepted = await check(request);
    if (socket.destroyed) return;
    // Again, since many upgrades may have come while their tokens were verified; from here on all happens in one tick.
    const refusal = connectionLimits.refusal(accepted.address, accepted.caller.claims.sub);
    if (refusal !== undefined) throw refusal;
    socket.once('close', connectionLimits.add(accepted.address, accepted.caller.claims.sub));
    const greeting = accepted.isPlain ? await greet(accepted.caller, socket) : undefined;
    if (socket.destroyed) return;
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const { id, epoch } = open(webSocket, socket, accepted, greeting);
      span.set({ 'fleetwire.session.id': id, 'http.response.status_code': 101 });
      logger.debug(
        { sessionId: id, deviceId: accepted.caller.claims.sub, epoch, traceId: span.traceId },
        'session opened',
      );
    });
  };

  /** The greeting of a plain socket is read before 101, so that it is the first message. */
  const greet = async (caller: Caller, socket: Duplex): Promise<PlainGreeting> => {
    const greeting = new PlainGreeting(context.plain, caller);
    socket.once('close', () => greeting.broadcast.cancel());
    await greeting.prepare();
    checkNotDraining();
    return greeting;
  };

  // A function of its own, so that closures that live as long as the socket keep no reference to the upgrade request.
  const open = (
    webSocket: WebSocket,
    socket: Duplex,
    { caller, epoch, acks }: AcceptedUpgrade,
    greeting: PlainGreeting | undefined,
  ): Session => {
    const id = randomUUID();
    const identity = { id, ...caller, epoch: epoch ?? `session-${id}`, acks, greeting };
    const session = new Session(webSocket, socket, identity, context);
    sessions.add(session);
    if (session.isPlain) metrics.plainConnections.inc();
    metrics.connections.set(sessions.size);
    if (caller.claims.role === 'device')
      presence.started({ sessionId: id, deviceId: caller.claims.sub, epoch: session.epoch, startedAt: Date.now() });
    webSocket.on('close', (code) => {
      sessions.remove(session);
      if (session.isPlain) metrics.plainConnections.dec();
      presence.ended(id, session.endReason(code));
      metrics.connections.set(sessions.size);
    });
    return session;
  };

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    // A peer may reset the connection while its token is checked; that is not an error of this server.
    const ignore = (): void => {};
    socket.on('error', ignore);
    const span = beginRequestSpan(tracer, request);
    upgrade(request, socket, head, span).then(
      () => {
        socket.off('error', ignore);
        span.end();
      },
      (error: unknown) => {
        if (!(error instanceof Problem)) logger.error({ err: error, traceId: span.traceId }, 'upgrade failed');
        const problem = error instanceof Problem ? error : new Problem(500, 'Internal server error');
        span.set({ 'http.response.status_code': problem.status });
        span.end(problem.status >= 500 ? problem.title : undefined);
        metrics.refusedUpgrades.inc({ status: String(problem.status) });
        refuseUpgrade(socket, problem);
      },
    );
  });
}

/** Answers an upgrade with a problem document instead of 101 (RFC 6455, 4.2.2). */
function refuseUpgrade(socket: Duplex, problem: Problem): void {
  const body = JSON.stringify(problem);
  const headers = {
    ...problem.headers,
    'Content-Type': problemMediaType,
    'Content-Length': Buffer.byteLength(body),
    Connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  // Nothing reads this socket any more: a client that keeps its side open would keep the file descriptor for ever.
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${problem.status} ${problem.title}\r\n${lines.join('\r\n')}\r\n\r\n${body}`);
}
