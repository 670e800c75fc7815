import type { DurationMs } from '../clock.ts';
import type { Trace, TraceKind } from './trace.ts';
import { TRACE_KINDS } from './trace.ts';

/** How long a group of spans or traces took. */
export interface SummaryRow {
  readonly name: string;
  readonly count: number;
  readonly p50: DurationMs;
  readonly p99: DurationMs;
  readonly max: DurationMs;
  readonly errors: number;
}

/** A row for each name of spans, those with the most spans first. */
export function summarizeSpans(traces: readonly Trace[]): SummaryRow[] {
  const spans = traces.flatMap(({ rows }) => rows.map(({ span }) => span));
  return [...Map.groupBy(spans, ({ name }) => name)]
    .map(([name, group]) => summarize(name, group, group.filter(failed).length))
    .sort((left, right) => right.count - left.count || (left.name < right.name ? -1 : 1));
}

/** A row for each kind of traces that there is. */
export function summarizeKinds(traces: readonly Trace[]): SummaryRow[] {
  const byKind = Map.groupBy(traces, ({ kind }): TraceKind => kind);
  return TRACE_KINDS.flatMap((kind) => {
    const group = byKind.get(kind);
    if (group === undefined) return [];
    const errors = group.filter(({ rows }) => rows.some(({ span }) => failed(span))).length;
    return [summarize(kind, group, errors)];
  });
}

function failed({ error }: { readonly error: string | undefined }): boolean {
  return error !== undefined;
}

function summarize(
  name: string,
  group: readonly { readonly duration: DurationMs }[],
  errors: number,
): SummaryRow {
  const sorted = Float64Array.from(group, ({ duration }) => duration).sort();
  return {
    name,
    count: sorted.length,
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    max: sorted.at(-1) ?? 0,
    errors,
  };
}

/** By the nearest rank: a value that did occur. */
function quantile(sorted: Float64Array, part: number): number {
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? 0;
}
