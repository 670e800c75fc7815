import type { Clock, DurationMs } from '../clock.ts';

/** A budget of so many a second, that may be saved up to a burst. */
export class TokenBucket {
  readonly #clock: Clock;
  readonly #rate: number;
  readonly #burst: number;
  #tokens: number;
  #filledAt: DurationMs;

  /**
   * @param rate - Tokens that are added a second.
   * @param burst - Tokens that can be saved up, at least 1. The bucket starts full.
   */
  constructor(clock: Clock, rate: number, burst: number) {
    this.#clock = clock;
    this.#rate = rate;
    this.#burst = burst;
    this.#tokens = burst;
    this.#filledAt = clock.elapsed();
  }

  /** Takes a token, if there is one. */
  take(): boolean {
    this.#fill();
    // Fractions add up to almost one.
    if (this.#tokens < 1 - 1e-9) return false;
    this.#tokens -= 1;
    return true;
  }

  /** How long until there is a token to take; 0 when there is one. */
  get wait(): DurationMs {
    this.#fill();
    const missing = 1 - this.#tokens;
    return missing <= 1e-9 ? 0 : Math.ceil((missing * 1_000) / this.#rate);
  }

  #fill(): void {
    const now = this.#clock.elapsed();
    const passed = Math.max(0, now - this.#filledAt);
    this.#tokens = Math.min(this.#burst, this.#tokens + (passed * this.#rate) / 1_000);
    this.#filledAt = now;
  }
}
