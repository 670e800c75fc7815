import type { DurationMs, EpochMs, MonotonicMs } from './clock.ts';

/** Fractions of tokens add up to almost one. */
const ALMOST_ONE = 1 - 1e-9;

/**
 * So many tokens a second, saved up to a burst; full at first.
 *
 * The time is given with each call, by one clock all along. A wall clock does as well: one that
 * is set back adds nothing, and one that is set ahead fills the bucket and no more.
 */
export class TokenBucket {
  readonly #rate: number;
  readonly #burst: number;
  #tokens: number;
  #filledAt: MonotonicMs | EpochMs = 0;

  /**
   * @param rate - Tokens that are added a second, more than 0.
   * @param burst - Tokens that can be saved up, at least 1.
   */
  constructor(rate: number, burst: number) {
    this.#rate = rate;
    this.#burst = burst;
    this.#tokens = burst;
  }

  /** Takes a token, if there is one. */
  take(now: MonotonicMs | EpochMs): boolean {
    if (!this.has(now)) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Whether there is a token to take. */
  has(now: MonotonicMs | EpochMs): boolean {
    this.#fill(now);
    return this.#tokens >= ALMOST_ONE;
  }

  /** How long until there is a token to take; 0 when there is one. */
  wait(now: MonotonicMs | EpochMs): DurationMs {
    return this.has(now) ? 0 : Math.ceil(((1 - this.#tokens) * 1_000) / this.#rate);
  }

  /**
   * Takes tokens whether they are there or not: what is missing is owed, and made up for before
   * there is one to take again.
   *
   * @param most - The most that is owed; more than that is let off.
   */
  charge(tokens: number, most: number, now: MonotonicMs | EpochMs): void {
    this.#fill(now);
    this.#tokens = Math.max(this.#tokens - tokens, -most);
  }

  /** Gives back what was charged. */
  refund(tokens: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + tokens);
  }

  /** Leaves no token, and so many owed at least. */
  drain(owed: number): void {
    this.#tokens = Math.min(this.#tokens, -owed);
  }

  /** Nothing has been taken for as long as it takes to make up for all that was. */
  isFull(now: MonotonicMs | EpochMs): boolean {
    this.#fill(now);
    return this.#tokens >= this.#burst;
  }

  #fill(now: MonotonicMs | EpochMs): void {
    const passed = Math.max(0, now - this.#filledAt);
    this.#tokens = Math.min(this.#burst, this.#tokens + (passed * this.#rate) / 1_000);
    this.#filledAt = now;
  }
}
