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

/** Less than this a node's clock may differ from a service's without being corrected. */
const TOLERATED_SKEW: DurationMs = 2_000;

/**
 * The time as a trusted service tells it: the node's own until the service has been heard,
 * then the service's, carried on by a clock that never jumps. Setting the node's clock, to
 * the right time or to a wrong one, changes nothing from then on.
 */
export class ServiceClock implements Clock {
  readonly #node: Clock;
  /** What `elapsed` has to be added to; undefined while the node's clock is good enough. */
  #base: number | undefined;

  /** @param node - The clock of the node. */
  constructor(node: Clock) {
    this.#node = node;
  }

  now(): EpochMs {
    return this.#base === undefined ? this.#node.now() : this.#node.elapsed() + this.#base;
  }

  elapsed(): DurationMs {
    return this.#node.elapsed();
  }

  setTimeout(callback: () => void, delay: DurationMs): Timer {
    return this.#node.setTimeout(callback, delay);
  }

  clearTimeout(timer: Timer | undefined): void {
    this.#node.clearTimeout(timer);
  }

  /** By how much the node's clock is ahead of this one. */
  get skew(): DurationMs {
    return this.#node.now() - this.now();
  }

  /**
   * Hears the service's time.
   *
   * @returns Whether this clock was set by it.
   */
  hear(serviceTime: EpochMs): boolean {
    if (Math.abs(serviceTime - this.now()) < TOLERATED_SKEW && this.#base !== undefined)
      return false;
    const corrected = Math.abs(serviceTime - this.#node.now()) >= TOLERATED_SKEW;
    const before = this.#base;
    this.#base = (corrected ? serviceTime : this.#node.now()) - this.#node.elapsed();
    return corrected || before !== undefined;
  }
}
