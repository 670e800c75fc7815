import { percentile } from '../harness/statistics.ts';
import type { Hit, SteadyHits } from '../load/steady-hits.ts';
import { type LateHit, withLateness } from './burst-lateness.ts';

/** Latencies of hits in some time, in milliseconds. */
export interface HitFigures {
  readonly hits: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly most: number;
  /** The same p99.9 and most without what the process of the load was late by itself. */
  readonly ownLess: { readonly p999: number; readonly most: number };
  /** How late the process of the load was. */
  readonly generatorLate: { readonly p99: number; readonly most: number };
}

/** When a burst came; milliseconds since the epoch. */
export interface BurstTimes {
  /** When the hits began. */
  readonly began: number;
  /** When the first new token was sent, and the last one answered. */
  readonly from: number;
  readonly to: number;
}

/** Hits that were answered before a burst, and those that were due or answered during it. */
export interface BurstHits {
  readonly before: HitFigures;
  readonly during: HitFigures;
  /** The slowest hit of every 50 ms: seconds since the hits began, and milliseconds. */
  readonly slowest: readonly (readonly [second: number, took: number])[];
}

/** What is drawn of a load: the slowest hit of each of these. */
const SLOT_MS = 50;

/** Divides the hits of a load by the burst that came meanwhile. */
export function burstHits(load: SteadyHits, { began, from, to }: BurstTimes): BurstHits {
  const hits = withLateness(load.hits, load.late);
  return {
    before: figuresOf(hits, load.late, ({ at }) => at < from),
    // Those too that were still waiting when it had ended.
    during: figuresOf(hits, load.late, ({ at, took }) => at >= from && at - took <= to),
    slowest: slowest(load.hits, began),
  };
}

function figuresOf(
  hits: readonly LateHit[],
  late: readonly Hit[],
  chosen: (one: Hit) => boolean,
): HitFigures {
  const took = ascending(hits.filter(chosen).map((one) => one.took));
  const own = ascending(hits.filter(chosen).map(({ ownLess }) => ownLess));
  const generator = ascending(late.filter(chosen).map((one) => one.took));
  return {
    hits: took.length,
    p50: percentile(took, 50),
    p99: percentile(took, 99),
    p999: percentile(took, 99.9),
    most: percentile(took, 100),
    ownLess: { p999: percentile(own, 99.9), most: percentile(own, 100) },
    generatorLate: { p99: percentile(generator, 99), most: percentile(generator, 100) },
  };
}

function ascending(values: readonly number[]): number[] {
  return values.toSorted((left, right) => left - right);
}

function slowest(hits: readonly Hit[], began: number): [number, number][] {
  const width = SLOT_MS;
  const slots = new Map<number, number>();
  for (const { at, took } of hits) {
    const slot = Math.floor((at - began) / width);
    slots.set(slot, Math.max(slots.get(slot) ?? 0, took));
  }
  return [...slots]
    .toSorted(([left], [right]) => left - right)
    .map(([slot, took]) => [(slot * width) / 1_000, took]);
}
