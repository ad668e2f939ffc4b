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

/** Starts spans that nobody exports, but carries on the trace that a caller began. */
export const untraced: Tracer = trace.getTracer('fleetwire');

/**
 * The trace that HTTP or AMQP headers tell of (W3C Trace Context).
 * @returns undefined where they tell of none, or of one that cannot be read: that is never a reason to refuse what they came with
 */
export function contextOf(headers: Readonly<Record<string, unknown>>): Context | undefined {
  if (headers['traceparent'] === undefined) return undefined;
  const context = propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
  return context === ROOT_CONTEXT ? undefined : context;
}

/** For lines of the log; undefined outside any trace. */
export function traceIdOf(context: Context | undefined): string | undefined {
  const spanContext = context === undefined ? undefined : trace.getSpanContext(context);
  return spanContext !== undefined && isSpanContextValid(spanContext) ? spanContext.traceId : undefined;
}

export interface SpanOptions {
  readonly kind: keyof typeof SpanKind;
  /** The traces that lead here: a single one is continued; of several the span begins a new one, with a link to each. */
  readonly from: readonly Context[];
  readonly attributes: Attributes;
}

export interface BegunSpan {
  readonly context: Context;
  readonly traceId: string | undefined;
  /** `traceparent` and `tracestate` for who works on; empty outside any trace. */
  readonly headers: Readonly<Record<string, string>>;
  set(attributes: Attributes): void;
  /** @param failure what went wrong, where something did */
  end(failure?: unknown): void;
}

/** Begins a span. Contexts are handed on by the caller: nothing is ambient. */
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
