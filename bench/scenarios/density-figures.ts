import type { CallCounts } from '../harness/calls.ts';
import type { Measured } from '../harness/variants.ts';

/** How many pods of what ask at once. */
export interface Combination {
  readonly pods: number;
  readonly processes: number;
  readonly serviceAccounts: number;
}

/** What all processes of all pods asking at once came to. */
export interface Wave extends CallCounts {
  /** Until the last answer with credentials; undefined where there was none. */
  readonly lastAfterMs: number | undefined;
  /** Answers 503 that a client had to come back after. */
  readonly told503: number;
  /** Processes without credentials in the end: only a peer may leave any. */
  readonly unserved: number;
}

/** One combination with one variant. */
export interface DensityRound {
  readonly first: Wave;
  /** Everybody again, after every token was replaced. */
  readonly rotated: Wave;
  readonly residentMiB: number | undefined;
  readonly peakResidentMiB: number | undefined;
}

/** All rounds of a combination with a variant. */
export type DensityFigures = Combination & Measured<DensityRound>;
