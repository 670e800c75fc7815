import { LRUCache } from 'lru-cache';
import type { Clock, DurationMs } from '../clock.ts';
import { TokenBucket } from './token-bucket.ts';

/** Callers whose use is remembered; the least recently seen starts anew. */
const MAX_ADDRESSES = 4_096;

/**
 * Budget of calls to EKS Auth for tokens that nobody has verified: so many a second for the
 * node, and fewer for each caller's address, so that one cannot use up what all share.
 */
export class UnverifiedBudget {
  readonly #clock: Clock;
  readonly #node: TokenBucket;
  readonly #perAddress: number;
  readonly #addresses = new LRUCache<string, TokenBucket>({ max: MAX_ADDRESSES });

  /**
   * @param node - Calls a second for the whole node.
   * @param perAddress - Calls a second for one caller.
   */
  constructor(clock: Clock, node: number, perAddress: number) {
    this.#clock = clock;
    this.#node = new TokenBucket(clock, node, Math.max(1, node));
    this.#perAddress = perAddress;
  }

  /** How long `address` has to wait for a call; takes the call when that is 0. */
  take(address: string): DurationMs {
    const own = this.#bucketOf(address);
    const wait = Math.max(own.wait, this.#node.wait);
    if (wait > 0) return wait;
    own.take();
    this.#node.take();
    return 0;
  }

  #bucketOf(address: string): TokenBucket {
    const known = this.#addresses.get(address);
    if (known !== undefined) return known;
    const made = new TokenBucket(this.#clock, this.#perAddress, Math.max(1, this.#perAddress));
    this.#addresses.set(address, made);
    return made;
  }
}
