/** Milliseconds since the Unix epoch, by the clock of the node. */
export type EpochMs = number;
/** A span of time in milliseconds. */
export type DurationMs = number;
/** An instant by {@link Clock.elapsed}: milliseconds since some fixed moment. */
export type MonotonicMs = number;

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
  elapsed(): MonotonicMs;
  /** Calls `callback` once, `delay` milliseconds from now. */
  setTimeout(callback: () => void, delay: DurationMs): Timer;
  /** Takes a pending call back; harmless once it was made. */
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

/** Less than this a node's clock may differ from a service's without being corrected. */
const TOLERATED_SKEW: DurationMs = 2_000;

/**
 * A single answer may move the time by this much. EKS Auth refuses signatures that are further
 * off (5 minutes, as all of AWS does), so a clock that really is draws a second answer at once.
 */
const MAX_STEP: DurationMs = 5 * 60_000;

/** How far apart two answers' ideas of the time may be to count as agreeing; dates are in seconds. */
const AGREEMENT: DurationMs = 5_000;

/**
 * The time as a trusted service tells it: the node's own until the service has been heard,
 * then the service's, carried on by a clock that never jumps. Setting the node's clock back
 * changes nothing from then on. Setting it ahead looks like a machine that was suspended, where
 * the clock that never jumps stood still: the later time counts until the service is heard again,
 * so that nothing is served beyond its end.
 *
 * One wrong answer cannot move it far: a step of more than five minutes needs two answers in a
 * row that agree, or one that agrees with the node's own clock.
 */
export class ServiceClock implements Clock {
  readonly #node: Clock;
  /** What `elapsed` has to be added to; undefined while the node's clock is good enough. */
  #base: number | undefined;
  /** How far the node's clock was ahead of `elapsed` when the service was last heard. */
  #nodeBase = 0;
  /** The base that an answer asked for and that nothing has confirmed yet. */
  #doubtful: number | undefined;

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

  /** By how much the node's clock is ahead of this one. */
  get skew(): DurationMs {
    return this.#node.now() - this.now();
  }

  /**
   * What else the time may be: by the node's clock, and by the one that never jumps, where they
   * differ from {@link now} by more than one answer may move it.
   */
  get alternatives(): EpochMs[] {
    const now = this.now();
    const others = [this.#node.now(), this.#carriedOn];
    return others.filter((other) => Math.abs(other - now) > MAX_STEP);
  }

  /**
   * Takes in the time that the service has told.
   *
   * @returns Whether it is the node's clock that was found to be off, which is news.
   */
  sync(serviceTime: EpochMs): boolean {
    const ahead = serviceTime - this.now();
    if (Math.abs(ahead) < TOLERATED_SKEW && this.#base !== undefined) {
      this.#doubtful = undefined;
      this.#anchor(this.now());
      return false;
    }
    const corrected = Math.abs(serviceTime - this.#node.now()) >= TOLERATED_SKEW;
    const asked = serviceTime - this.#node.elapsed();
    if (!this.#isCredible(serviceTime, asked)) {
      this.#doubtful = asked;
      return false;
    }
    this.#doubtful = undefined;
    this.#anchor(corrected ? serviceTime : this.#node.now());
    return corrected;
  }

  /** Whether the service may be believed: nothing that is known speaks against it. */
  #isCredible(serviceTime: EpochMs, asked: number): boolean {
    const known = [this.now(), this.#node.now(), this.#carriedOn];
    return (
      known.some((time) => Math.abs(serviceTime - time) <= MAX_STEP) ||
      (this.#doubtful !== undefined && Math.abs(asked - this.#doubtful) <= AGREEMENT)
    );
  }

  /** The service's time as it was last heard, carried on by the clock that never jumps. */
  get #carriedOn(): EpochMs {
    const base = this.#base;
    return base === undefined ? this.#node.now() : this.#node.elapsed() + base;
  }

  /** Goes on from `now`, by the clock that never jumps. */
  #anchor(now: EpochMs): void {
    const elapsed = this.#node.elapsed();
    this.#base = now - elapsed;
    this.#nodeBase = this.#node.now() - elapsed;
  }
}
