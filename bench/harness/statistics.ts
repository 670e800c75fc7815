/** The middle of some numbers, and how far they reach. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Median, least and most of at least one number. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((left, right) => left - right);
  return {
    median: percentile(sorted, 50),
    min: sorted[0] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN,
  };
}

/**
 * The value that `part` percent of the values do not exceed (nearest rank); for an even
 * number of values the median lies half way between the middle two.
 *
 * @param sorted - In ascending order.
 */
export function percentile(sorted: readonly number[], part: number): number {
  if (sorted.length === 0) return Number.NaN;
  if (part === 50 && sorted.length % 2 === 0) {
    const middle = sorted.length / 2;
    return ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
  }
  // What binary fractions add to 99.9 % must not make it the next rank.
  const rank = Math.ceil((part / 100) * sorted.length - 1e-9);
  return sorted[Math.max(0, rank - 1)] as number;
}
