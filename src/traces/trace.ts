import type { DurationMs, EpochMs } from '../clock.ts';
import { LOOKUP, RENEWAL_SPAN, STATUS_CODE } from '../telemetry/span-names.ts';
import type { CollectedSpan } from './span.ts';

/** What a trace tells of; in the order in which they are shown. */
export const TRACE_KINDS = [
  'hit',
  'joined',
  'miss',
  'stale',
  'renewal',
  'refused',
  'failed',
  'other',
] as const;
export type TraceKind = (typeof TRACE_KINDS)[number];

/** A span, and how far it is indented. */
export interface TraceRow {
  readonly span: CollectedSpan;
  readonly depth: number;
}

/** The spans that belong together. */
export interface Trace {
  readonly id: string;
  readonly kind: TraceKind;
  /** The first span that has no parent here. */
  readonly root: CollectedSpan;
  /** Each below its parent, siblings by their start. */
  readonly rows: readonly TraceRow[];
  readonly startedAt: EpochMs;
  /** Until its last span ended: a fetch may outlast the request that started it. */
  readonly duration: DurationMs;
}

/** Puts spans together to traces, in the order of their start. */
export function gatherTraces(spans: readonly CollectedSpan[]): Trace[] {
  const byTrace = Map.groupBy(spans, ({ traceId }) => traceId);
  return [...byTrace.values()].map(gather).sort(byStart);
}

function gather(spans: readonly CollectedSpan[]): Trace {
  const rows = arrange(spans);
  const root = (rows[0] as TraceRow).span;
  let startedAt = root.startedAt;
  let endedAt = root.startedAt + root.duration;
  for (const span of spans) {
    startedAt = Math.min(startedAt, span.startedAt);
    endedAt = Math.max(endedAt, span.startedAt + span.duration);
  }
  return {
    id: root.traceId,
    kind: kindOf(root),
    root,
    rows,
    startedAt,
    duration: endedAt - startedAt,
  };
}

/** Whatever is broken about their parents, every span has its place once. */
function arrange(spans: readonly CollectedSpan[]): TraceRow[] {
  const sorted = spans.toSorted(byStart);
  const ids = new Set(sorted.map(({ spanId }) => spanId));
  const isRoot = ({ parentId }: CollectedSpan) => parentId === undefined || !ids.has(parentId);
  const children = Map.groupBy(sorted, ({ parentId }) => parentId ?? '');
  const placed = new Set<CollectedSpan>();
  const rows: TraceRow[] = [];
  const place = (root: CollectedSpan) => {
    const waiting: TraceRow[] = [{ span: root, depth: 0 }];
    for (let row = waiting.pop(); row !== undefined; row = waiting.pop()) {
      if (placed.has(row.span)) continue;
      placed.add(row.span);
      rows.push(row);
      const depth = row.depth + 1;
      const below = children.get(row.span.spanId) ?? [];
      waiting.push(...below.toReversed().map((span) => ({ span, depth })));
    }
  };
  for (const root of sorted.filter(isRoot)) place(root);
  // Parents in a circle have no root.
  for (const span of sorted) if (!placed.has(span)) place(span);
  return rows;
}

function byStart(left: { startedAt: EpochMs }, right: { startedAt: EpochMs }): number {
  return left.startedAt - right.startedAt;
}

function kindOf({ name, attributes, error }: CollectedSpan): TraceKind {
  if (name === RENEWAL_SPAN) return 'renewal';
  const status = Number(attributes.get(STATUS_CODE) ?? 0);
  if (status >= 500 || error !== undefined) return 'failed';
  if (status >= 400) return 'refused';
  const lookup = attributes.get(LOOKUP);
  return TRACE_KINDS.find((kind) => kind === lookup) ?? 'other';
}
