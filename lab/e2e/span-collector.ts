import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';

/** The members of an OTLP span in JSON (opentelemetry-proto, trace.proto) that the tests read. */
export interface CollectedSpan {
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
}

interface ExportRequest {
  readonly resourceSpans: readonly {
    readonly resource: Pick<CollectedSpan, 'attributes'>;
    readonly scopeSpans: readonly { readonly spans: readonly Omit<CollectedSpan, 'service'>[] }[];
  }[];
}

/** Receives spans over OTLP/HTTP, as a collector does. */
export async function startSpanCollector() {
  const spans: CollectedSpan[] = [];
  const server = createServer((request, response) => {
    const take = (body: unknown): void => {
      for (const { resource, scopeSpans } of (body as ExportRequest).resourceSpans) {
        const service = attribute(resource, 'service.name') ?? '';
        spans.push(...scopeSpans.flatMap((scope) => scope.spans.map((span) => ({ ...span, service }))));
      }
      response.setHeader('content-type', 'application/json').end('{}');
    };
    // A service that is killed ends in the middle of its request.
    json(request).then(take, () => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUp(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, spans };
}

export function attribute({ attributes }: Pick<CollectedSpan, 'attributes'>, key: string): string | undefined {
  return attributes.find((one) => one.key === key)?.value.stringValue;
}
