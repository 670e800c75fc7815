/** Wall-clock time in milliseconds since the Unix epoch. */
export type EpochMs = number;
/** A span of time in milliseconds. */
export type DurationMs = number;
/** Monotonic time in milliseconds since some fixed moment, by {@link Clock.elapsed}. */
export type MonotonicMs = number;

/** A pending timer of a {@link Clock}. */
export interface Timer {
  /** Lets the process exit while the timer is pending. */
  unref(): unknown;
}

/**
 * Time as a dependency. Code that waits or expires takes a clock, so that its tests can move the
 * time instead of waiting.
 */
export interface Clock {
  /** The wall-clock time; it jumps when the clock is set. */
  now(): EpochMs;
  /** The monotonic time, which never jumps. For durations, not for dates. */
  elapsed(): MonotonicMs;
  /** Calls `callback` once, after `delay` of monotonic time. */
  setTimeout(callback: () => void, delay: DurationMs): Timer;
  /** Cancels a timer; does nothing if it has fired. */
  clearTimeout(timer: Timer | undefined): void;
}

/**
 * The longest delay of Node's timers, 24.8 days. One that is longer would end after a millisecond
 * (https://nodejs.org/api/timers.html#settimeoutcallback-delay-args).
 */
const MAX_DELAY: DurationMs = 2 ** 31 - 1;

/** The real time. Delays of more than 24.8 days end after 24.8 days. */
export const systemClock: Clock = {
  now: Date.now,
  elapsed: () => performance.now(),
  setTimeout: (callback, delay) => setTimeout(callback, Math.min(delay, MAX_DELAY)),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
};

/** A difference from the service's time that is smaller than this is not corrected. */
const TOLERATED_SKEW: DurationMs = 2_000;

/**
 * How far a single answer may move the time. AWS rejects signatures that are further off (5
 * minutes), so if the node's clock really is, the call is retried and brings a second answer.
 */
const MAX_STEP: DurationMs = 5 * 60_000;

/** How far apart the times of two agreeing answers may be; dates are in whole seconds. */
const AGREEMENT: DurationMs = 5_000;

/**
 * The time of a trusted service. Until the service's first answer it is the node's own; after that
 * it is the service's, advanced by the monotonic clock. From then on, setting the node's clock back
 * has no effect. Setting it ahead cannot be told from a suspended machine, whose monotonic clock
 * stood still: the later time counts until the next answer, so that nothing is served after it has
 * expired.
 *
 * One wrong answer cannot move the time far: a step of more than five minutes needs two answers in
 * a row that agree, or one that agrees with the node's clock.
 */
export class ServiceClock implements Clock {
  readonly #node: Clock;
  /** The service's time less the monotonic time at the last answer; undefined before the first. */
  #base: number | undefined;
  /** The node's time less the monotonic time at the last answer. */
  #nodeBase = 0;
  /** The base of an answer that was too far off to be believed, until another one agrees. */
  #unconfirmedBase: number | undefined;

  /** @param node - The clock of the node. */
  constructor(node: Clock) {
    this.#node = node;
  }

  now(): EpochMs {
    const base = this.#base;
    if (base === undefined) return this.#node.now();
    const elapsed = this.#node.elapsed();
    const leap = this.#node.now() - elapsed - this.#nodeBase;
    return elapsed + base + (leap >= TOLERATED_SKEW ? leap : 0);
  }

  elapsed(): MonotonicMs {
    return this.#node.elapsed();
  }

  setTimeout(callback: () => void, delay: DurationMs): Timer {
    return this.#node.setTimeout(callback, delay);
  }

  clearTimeout(timer: Timer | undefined): void {
    this.#node.clearTimeout(timer);
  }

  /** How far the node's clock is ahead of this one; negative if it is behind. */
  get skew(): DurationMs {
    return this.#node.now() - this.now();
  }

  /**
   * Other possible times: by the node's clock, and by the monotonic clock since the last answer, if
   * they differ from {@link now} by more than five minutes.
   */
  get alternatives(): EpochMs[] {
    const now = this.now();
    const others = [this.#node.now(), this.#advancedBase];
    return others.filter((other) => Math.abs(other - now) > MAX_STEP);
  }

  /**
   * Takes in the time of an answer of the service.
   *
   * @returns Whether the node's clock was found to be off by 2 s or more, and the time corrected.
   */
  sync(serviceTime: EpochMs): boolean {
    const ahead = serviceTime - this.now();
    if (Math.abs(ahead) < TOLERATED_SKEW && this.#base !== undefined) {
      this.#unconfirmedBase = undefined;
      this.#anchor(this.now());
      return false;
    }
    const corrected = Math.abs(serviceTime - this.#node.now()) >= TOLERATED_SKEW;
    const base = serviceTime - this.#node.elapsed();
    if (!this.#isCredible(serviceTime, base)) {
      this.#unconfirmedBase = base;
      return false;
    }
    this.#unconfirmedBase = undefined;
    this.#anchor(corrected ? serviceTime : this.#node.now());
    return corrected;
  }

  /** Whether an answer is believed: it is near a known time, or agrees with the one before it. */
  #isCredible(serviceTime: EpochMs, base: number): boolean {
    const known = [this.now(), this.#node.now(), this.#advancedBase];
    return (
      known.some((time) => Math.abs(serviceTime - time) <= MAX_STEP) ||
      (this.#unconfirmedBase !== undefined && Math.abs(base - this.#unconfirmedBase) <= AGREEMENT)
    );
  }

  /** The service's time at the last answer, advanced by the monotonic clock. */
  get #advancedBase(): EpochMs {
    const base = this.#base;
    return base === undefined ? this.#node.now() : this.#node.elapsed() + base;
  }

  /** Sets the time, which the monotonic clock advances from here. */
  #anchor(now: EpochMs): void {
    const elapsed = this.#node.elapsed();
    this.#base = now - elapsed;
    this.#nodeBase = this.#node.now() - elapsed;
  }
}
