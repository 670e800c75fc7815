import type { MonotonicMs } from '../clock.ts';
import { TokenBucket } from '../token-bucket.ts';
import type { Quota } from './settings.ts';

/** Counts calls against the account's quota, which can change at any time. */
export class Throttle {
  #quota: Quota | undefined;
  #bucket: TokenBucket | undefined;

  /**
   * Whether a call is within the quota.
   *
   * @param quota - As it is set now; one that has changed starts full. `null`: no limit.
   */
  admits(quota: Quota | null, now: MonotonicMs): boolean {
    if (quota === null) return true;
    const { rate, burst } = quota;
    if (rate !== this.#quota?.rate || burst !== this.#quota.burst) {
      this.#quota = { rate, burst };
      this.#bucket = undefined;
    }
    this.#bucket ??= new TokenBucket(rate, burst);
    return this.#bucket.take(now);
  }
}
