import { LRUCache } from 'lru-cache';
import type { Clock, DurationMs } from '../clock.ts';
import { TokenBucket } from '../token-bucket.ts';

/** Sources whose budgets are remembered; the least recently seen one is dropped. */
const MAX_SOURCES = 4_096;

/**
 * Rate limits of calls to EKS Auth for tokens that could not be verified: one for the node, and a
 * lower one per source of requests, so that one source cannot use up the node's.
 */
export class UnverifiedBudget {
  readonly #clock: Clock;
  readonly #node: TokenBucket;
  readonly #perSource: number;
  readonly #sources = new LRUCache<string, TokenBucket>({ max: MAX_SOURCES });

  /**
   * @param node - Calls per second for the whole node, more than 0.
   * @param perSource - Calls per second for one source, more than 0.
   */
  constructor(clock: Clock, node: number, perSource: number) {
    this.#clock = clock;
    this.#node = bucketOf(node);
    this.#perSource = perSource;
  }

  /**
   * Takes a call from both budgets, if they have one.
   *
   * @param source - Where the request comes from: one name for all addresses that a single
   *   client can use.
   * @returns How long the source has to wait; 0: the call was taken.
   */
  take(source: string): DurationMs {
    const now = this.#clock.elapsed();
    const own = this.#bucketOf(source);
    const wait = Math.max(own.wait(now), this.#node.wait(now));
    if (wait > 0) return wait;
    own.take(now);
    this.#node.take(now);
    return 0;
  }

  #bucketOf(source: string): TokenBucket {
    const known = this.#sources.get(source);
    if (known !== undefined) return known;
    const made = bucketOf(this.#perSource);
    this.#sources.set(source, made);
    return made;
  }
}

function bucketOf(rate: number): TokenBucket {
  return new TokenBucket(rate, Math.max(1, rate));
}
