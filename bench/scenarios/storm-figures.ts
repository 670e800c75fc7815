import type { CallCounts } from '../harness/calls.ts';
import type { Measured } from '../harness/variants.ts';

/** One pod's only try. Milliseconds; `at` is when it was due. */
export interface StormTry {
  readonly at: number;
  readonly took: number;
  readonly ok: boolean;
}

/** The storm with one variant, once. */
export interface StormRound extends CallCounts {
  readonly tries: readonly StormTry[];
}

/** All rounds of a variant. */
export type StormFigures = Measured<StormRound>;
