import type { EpochMs } from '../clock.ts';

/** When a worker thread did something, by its own clock. */
export interface WorkTimes {
  readonly startedAt: EpochMs;
  readonly endedAt: EpochMs;
}

/**
 * The time within one trace: fine enough for what takes microseconds, and in order, even where
 * the node's clock is set meanwhile.
 */
export class TraceTime {
  readonly #base = Date.now() - performance.now();

  now(): EpochMs {
    return this.#base + performance.now();
  }

  /** What was reported by another clock, moved into the time since `start`. */
  within(start: EpochMs, { startedAt, endedAt }: WorkTimes): WorkTimes {
    const now = this.now();
    const duration = Math.min(Math.max(0, endedAt - startedAt), now - start);
    const moved = Math.min(Math.max(startedAt, start), now - duration);
    return { startedAt: moved, endedAt: moved + duration };
  }
}
