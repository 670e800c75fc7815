import { percentile } from '../harness/statistics.ts';

/** Where a distribution is drawn, in per cent. */
const DRAWN = [1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9] as const;

/** Latencies as a curve over percentiles; as far out as there are values to tell. */
export function distribution(values: readonly number[]): [number, number][] {
  const sorted = values.toSorted((left, right) => left - right);
  const furthest = 100 - 100 / Math.max(1, sorted.length);
  return DRAWN.filter((part) => part <= furthest).map((part) => [part, percentile(sorted, part)]);
}

/**
 * Parts of 1 over time: how many of those that began in each slot are `good`.
 *
 * @param width - Of a slot, in milliseconds, as `at`; the curve is in seconds.
 */
export function shareByTime(
  events: readonly { readonly at: number; readonly good: boolean }[],
  width: number,
): [number, number][] {
  const slots = new Map<number, { all: number; good: number }>();
  for (const { at, good } of events) {
    const slot = Math.floor(at / width);
    const counted = slots.get(slot) ?? { all: 0, good: 0 };
    counted.all += 1;
    if (good) counted.good += 1;
    slots.set(slot, counted);
  }
  return [...slots]
    .toSorted(([left], [right]) => left - right)
    .map(([slot, { all, good }]) => [((slot + 0.5) * width) / 1_000, good / all]);
}
