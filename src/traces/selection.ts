import { TRACE_KINDS, type Trace } from './trace.ts';

/** The traces with the most to see. */
export interface Selection {
  /** One of each kind that there is, of a usual duration; without errors, where one is. */
  readonly typical: readonly Trace[];
  /** The slowest first. */
  readonly slowest: readonly Trace[];
  /** What those link to, where it is none of them. */
  readonly linked: readonly Trace[];
}

/**
 * Chooses what to show.
 *
 * @param slowest - How many of the slowest.
 */
export function selectTraces(traces: readonly Trace[], slowest: number): Selection {
  const byDuration = traces.toSorted((left, right) => right.duration - left.duration);
  const byKind = Map.groupBy(byDuration, ({ kind }) => kind);
  const typical = TRACE_KINDS.flatMap((kind) => {
    const all = byKind.get(kind) ?? [];
    const sound = all.filter(({ rows }) => rows.every(({ span }) => span.error === undefined));
    const group = sound.length > 0 ? sound : all;
    return group.slice(Math.floor(group.length / 2)).slice(0, 1);
  });
  const slow = byDuration.slice(0, slowest);
  const byId = new Map(traces.map((trace) => [trace.id, trace]));
  const shown = new Set([...typical, ...slow]);
  const linked = new Set<Trace>();
  for (const trace of shown) {
    for (const { span } of trace.rows) {
      for (const { traceId } of span.links) {
        const target = byId.get(traceId);
        if (target !== undefined && !shown.has(target)) linked.add(target);
      }
    }
  }
  return { typical, slowest: slow, linked: [...linked] };
}
