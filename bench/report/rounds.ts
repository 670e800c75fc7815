import { spread } from '../harness/statistics.ts';

/**
 * A figure over rounds: the median, behind it the least and the most where there was more than
 * one round; a dash where it is not known.
 *
 * @param write - How one value is written.
 */
export function overRounds(
  values: readonly (number | undefined)[],
  write: (value: number) => string,
): string {
  const known = values.filter((value) => value !== undefined);
  if (known.length === 0) return '–';
  const { median, min, max } = spread(known);
  return known.length === 1 ? write(median) : `${write(median)} (${write(min)}–${write(max)})`;
}

/** The median of a figure over rounds; undefined where no round has it. */
export function medianOf<T>(
  rounds: readonly T[],
  read: (round: T) => number | undefined,
): number | undefined {
  // Only the round: what is read may take further, optional parameters.
  const known = rounds.map((round) => read(round)).filter((value) => value !== undefined);
  return known.length === 0 ? undefined : spread(known).median;
}
