import { limits } from '@fleetwire/contracts/limits';
import { TelemetryAccepted, TelemetryRequest } from '@fleetwire/contracts/telemetry-http';
import { closed, type Operation } from './route.ts';

/** What ingest-ws serves over HTTP, described here so that there is one document; its schemas live in contracts. */
export const ingestOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/telemetry',
    operationId: 'sendTelemetry',
    tag: 'Telemetry',
    summary: 'Send readings',
    description:
      `Served by ingest-ws, also as \`POST /api/data\`. One element or an array of at most ${limits.readingsPerFrameMax}; ` +
      `at most ${limits.payloadBytesMax} bytes. The answer comes once the broker has confirmed: what it accepts is safe.`,
    roles: ['device', 'admin'],
    params: closed({}),
    query: closed({}),
    body: TelemetryRequest,
    success: { status: 202, description: 'Confirmed', schema: TelemetryAccepted },
    problems: [413],
  },
];
