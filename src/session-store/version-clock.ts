import type { Clock, DurationMs, EpochMs } from '../clock.ts';

/** By how much this node's clock and that of Redis may differ before Redis was ever heard. */
const MAX_UNHEARD_SKEW: DurationMs = 10_000;
/** The part by which a clock may be fast: fifty times what a cheap crystal is off. */
const MAX_DRIFT = 0.001;
const MICROSECONDS = 1_000;
/** By how much a clock may be ahead of another: what is later cannot be a time or a version. */
export const MAX_CLOCK_DIFFERENCE: DurationMs = 2 * 24 * 60 * 60_000;

/**
 * The version of something that began at a time, for whoever has not heard a version from Redis.
 * Versions are microseconds by the clock of Redis; this one is rather too low, so that a flush
 * about then counts as later.
 */
export function versionAt(time: EpochMs): number {
  return Math.max(0, Math.floor((time - MAX_UNHEARD_SKEW) * MICROSECONDS));
}

/**
 * Tells which version Redis would give out now, or a lower one: what is fetched without asking
 * Redis is later than the flushes of the days before, and earlier than any flush to come.
 */
export class VersionClock {
  readonly #clock: Clock;
  #heard = 0;
  #heardAt: DurationMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether Redis can have given out a version: none is of the days to come. */
  plausible(version: number): boolean {
    return version <= (this.#clock.now() + MAX_CLOCK_DIFFERENCE) * MICROSECONDS;
  }

  /** Redis has given out a version, or has told its time in microseconds. */
  hear(version: number): void {
    if (!(version > this.now()) || !this.plausible(version)) return;
    this.#heard = version;
    this.#heardAt = this.#clock.elapsed();
  }

  /** A lower bound of what Redis would give out now. */
  now(): number {
    if (this.#heard === 0) return versionAt(this.#clock.now());
    const since = this.#clock.elapsed() - this.#heardAt;
    return this.#heard + Math.floor(since * MICROSECONDS * (1 - MAX_DRIFT));
  }
}
