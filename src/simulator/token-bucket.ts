import type { EpochMs } from '../clock.ts';
import type { Quota } from './settings.ts';

/** Counts calls against a quota: the bucket holds `burst` and fills at `rate` a second. */
export class TokenBucket {
  #quota: Quota | null = null;
  #level = 0;
  #filledAt: EpochMs = 0;

  /** Takes one call out of the bucket; `false` where there is none left. */
  take(quota: Quota | null, now: EpochMs): boolean {
    if (quota === null) return true;
    if (quota.rate !== this.#quota?.rate || quota.burst !== this.#quota.burst) {
      this.#quota = quota;
      this.#level = quota.burst;
      this.#filledAt = now;
    }
    const gained = (Math.max(0, now - this.#filledAt) / 1_000) * quota.rate;
    this.#level = Math.min(quota.burst, this.#level + gained);
    this.#filledAt = now;
    if (this.#level < 1) return false;
    this.#level -= 1;
    return true;
  }
}
