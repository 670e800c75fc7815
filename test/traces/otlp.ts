/** A span as it is in OTLP JSON. */
export type OtlpSpan = Record<string, unknown>;

/** Ids of the length that OTLP has. */
export const traceId = (number: number) => number.toString(16).padStart(32, '0');
export const spanId = (number: number) => number.toString(16).padStart(16, '0');

/** A span that begins and ends at these milliseconds. */
export function otlpSpan(
  trace: number,
  id: number,
  [startedAt, endedAt]: readonly [number, number],
  more: OtlpSpan = {},
): OtlpSpan {
  return {
    traceId: traceId(trace),
    spanId: spanId(id),
    name: `span ${id}`,
    kind: 1,
    startTimeUnixNano: `${BigInt(startedAt) * 1_000_000n}`,
    endTimeUnixNano: `${BigInt(endedAt) * 1_000_000n}`,
    ...more,
  };
}

/** An ExportTraceServiceRequest. */
export function otlpRequest(...spans: readonly OtlpSpan[]): unknown {
  return { resourceSpans: [{ scopeSpans: [{ spans }] }] };
}

/** An attribute as it is in OTLP JSON. */
export function attribute(key: string, value: string | number): unknown {
  return {
    key,
    value: typeof value === 'string' ? { stringValue: value } : { intValue: String(value) },
  };
}
