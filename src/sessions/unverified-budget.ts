import { LRUCache } from 'lru-cache';
import type { Clock, DurationMs } from '../clock.ts';
import { TokenBucket } from '../token-bucket.ts';

/** Callers whose use is remembered; the least recently seen starts anew. */
const MAX_SOURCES = 4_096;

/**
 * Budget of calls to EKS Auth for tokens that nobody has verified: so many a second for the
 * node, and fewer for each source of requests, so that one cannot use up what all share.
 */
export class UnverifiedBudget {
  readonly #clock: Clock;
  readonly #node: TokenBucket;
  readonly #perSource: number;
  readonly #sources = new LRUCache<string, TokenBucket>({ max: MAX_SOURCES });

  /**
   * @param node - Calls a second for the whole node, more than 0.
   * @param perSource - Calls a second for one source, more than 0.
   */
  constructor(clock: Clock, node: number, perSource: number) {
    this.#clock = clock;
    this.#node = bucketOf(node);
    this.#perSource = perSource;
  }

  /**
   * How long a source has to wait for a call; takes the call when that is 0.
   *
   * @param source - Where the request comes from, by the name that all addresses share which one
   *   caller can take.
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
