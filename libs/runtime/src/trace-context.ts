import {
  type Attributes,
  type Context,
  type Link,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  defaultTextMapGetter,
  defaultTextMapSetter,
  isSpanContextValid,
  trace,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';

export type { Context, Tracer };

const propagator = new W3CTraceContextPropagator();

/** Starts spans that are not exported, but propagates a caller's trace. */
export const untraced: Tracer = trace.getTracer('fleetwire');

/**
 * The trace in HTTP or AMQP headers (W3C Trace Context).
 * @returns undefined when there is none or it is invalid, which is never a reason to refuse the message
 */
export function contextOf(headers: Readonly<Record<string, unknown>>): Context | undefined {
  if (headers['traceparent'] === undefined) return undefined;
  const context = propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
  return context === ROOT_CONTEXT ? undefined : context;
}

/** For log lines; undefined without a trace. */
export function traceIdOf(context: Context | undefined): string | undefined {
  const spanContext = context === undefined ? undefined : trace.getSpanContext(context);
  return spanContext !== undefined && isSpanContextValid(spanContext) ? spanContext.traceId : undefined;
}

export interface SpanOptions {
  readonly kind: keyof typeof SpanKind;
  /** The traces of the causes: a single one is continued; for several the span starts a new trace with a link to each. */
  readonly from: readonly Context[];
  readonly attributes: Attributes;
}

export interface BegunSpan {
  readonly context: Context;
  readonly traceId: string | undefined;
  /** `traceparent` and `tracestate` for the next service; empty without a trace. */
  readonly headers: Readonly<Record<string, string>>;
  set(attributes: Attributes): void;
  /** @param failure the error, if the work failed */
  end(failure?: unknown): void;
}

/** Starts a span. Contexts are passed explicitly: there is no ambient context. */
export function beginSpan(tracer: Tracer, name: string, { kind, from, attributes }: SpanOptions): BegunSpan {
  const [only] = from;
  const parent = only !== undefined && from.length === 1 ? only : ROOT_CONTEXT;
  const links = parent === only ? [] : from.flatMap((one) => trace.getSpanContext(one) ?? []).map(toLink);
  const span = tracer.startSpan(name, { kind: SpanKind[kind], links, attributes }, parent);
  const context = trace.setSpan(parent, span);
  return {
    context,
    traceId: traceIdOf(context),
    get headers() {
      const headers: Record<string, string> = {};
      propagator.inject(context, headers, defaultTextMapSetter);
      return headers;
    },
    set: (more) => void span.setAttributes(more),
    end: (failure) => {
      if (failure !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(failure) });
      span.end();
    },
  };
}

function toLink(context: SpanContext): Link {
  return { context };
}

function messageOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : String(failure);
}
