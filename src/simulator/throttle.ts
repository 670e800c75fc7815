import type { MonotonicMs } from '../clock.ts';
import { TokenBucket } from '../token-bucket.ts';
import type { Quota } from './settings.ts';

/** Counts calls against the account's quota, which can change at any time. */
export class Throttle {
  #quota: Quota | null = null;
  #bucket: TokenBucket | undefined;

  /**
   * Whether a call is within the quota.
   *
   * @param quota - As it is set now: the same object as before, or else one that was set since,
   *   which starts full. `null`: no limit.
   */
  admits(quota: Quota | null, now: MonotonicMs): boolean {
    if (quota === null) return true;
    if (quota !== this.#quota) this.#bucket = undefined;
    this.#quota = quota;
    this.#bucket ??= new TokenBucket(quota.rate, quota.burst);
    return this.#bucket.take(now);
  }
}
