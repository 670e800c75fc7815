/** Milliseconds since the Unix epoch, by the clock of the node. */
export type EpochMs = number;
/** A span of time in milliseconds. */
export type DurationMs = number;

/** What a {@link Clock} hands out for a pending call. */
export interface Timer {
  /** The process may exit while this is pending. */
  unref(): unknown;
}

/**
 * Time as a dependency: whatever waits or expires takes one of these, so that its tests
 * move time instead of waiting for it.
 */
export interface Clock {
  /** The current time; jumps when the node's clock is set. */
  now(): EpochMs;
  /** Time since some fixed moment; never jumps. For spans, not for dates. */
  elapsed(): DurationMs;
  /** Calls `callback` once, `delay` milliseconds from now. */
  setTimeout(callback: () => void, delay: DurationMs): Timer;
  /** Takes a pending call back; harmless once it was made. */
  clearTimeout(timer: Timer | undefined): void;
}

/** The real time. */
export const systemClock: Clock = {
  now: Date.now,
  elapsed: () => performance.now(),
  setTimeout: (callback, delay) => setTimeout(callback, delay),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
};
