import type { DurationMs, EpochMs } from '../clock.ts';

/** What an attribute holds; lists and maps as JSON text. */
export type AttributeValue = string | number | boolean;
export type Attributes = ReadonlyMap<string, AttributeValue>;

/** What a span is in its trace, in OpenTelemetry's words. */
export type SpanKind = 'internal' | 'server' | 'client' | 'producer' | 'consumer';

/** A span that was collected. All text in it is foreign. */
export interface CollectedSpan {
  /** 32 hex digits, lower case. */
  readonly traceId: string;
  /** 16 hex digits, lower case; of one trace. */
  readonly spanId: string;
  /** Undefined: the first of its trace. */
  readonly parentId: string | undefined;
  /** Of the program that made it; empty where it does not say. */
  readonly service: string;
  readonly name: string;
  readonly kind: SpanKind;
  readonly startedAt: EpochMs;
  readonly duration: DurationMs;
  readonly attributes: Attributes;
  readonly events: readonly SpanEvent[];
  readonly links: readonly SpanLink[];
  /** Why it failed, perhaps empty; undefined where it did not. */
  readonly error: string | undefined;
}

/** Something that happened while a span lasted. */
export interface SpanEvent {
  readonly name: string;
  readonly at: EpochMs;
  readonly attributes: Attributes;
}

/** A span of any trace that this one has to do with. */
export interface SpanLink {
  readonly traceId: string;
  readonly spanId: string;
}
