import { randomInt } from 'node:crypto';
import type { Parameters } from 'fast-check';
import type { Test } from 'tap';

/** How long one property may take; runs that do not fit in are left out. */
const LONGEST = 6_000;

/**
 * Parameters of a bounded run with a seed of its own, which is printed. `FUZZ_SEED` repeats
 * one; `FUZZ_MINUTES` lets each property go on for so long instead.
 *
 * @param runs - At the most.
 */
export function fuzzing<T>(t: Test, runs: number): Parameters<T> {
  const { FUZZ_SEED, FUZZ_MINUTES } = process.env;
  const seed = FUZZ_SEED === undefined ? randomInt(2 ** 31) : Number(FUZZ_SEED);
  t.comment(`${t.name}: FUZZ_SEED=${seed}`);
  const minutes = Number(FUZZ_MINUTES ?? 0);
  return {
    seed,
    numRuns: minutes > 0 ? 1e9 : runs,
    interruptAfterTimeLimit: minutes > 0 ? minutes * 60_000 : LONGEST,
    markInterruptAsFailure: false,
    endOnFailure: true,
  };
}
