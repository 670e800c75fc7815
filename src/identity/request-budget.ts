import type { EpochMs } from '../clock.ts';

/** Seconds' worth of requests that may be made at once. */
const BURST_SECONDS = 5;

/** How many requests one holder of a token may make: `rate` a second; 0 is no bound. */
export class RequestBudget {
  readonly #rate: number;
  #left: number;
  #filledAt: EpochMs = 0;

  constructor(rate: number) {
    this.#rate = rate;
    this.#left = rate * BURST_SECONDS;
  }

  /** Takes one request; false when there is none left. A clock set back gives nothing. */
  take(now: EpochMs): boolean {
    if (this.#rate === 0) return true;
    const gained = (Math.max(0, now - this.#filledAt) * this.#rate) / 1_000;
    this.#left = Math.min(this.#rate * BURST_SECONDS, this.#left + gained);
    this.#filledAt = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
