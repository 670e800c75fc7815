import { LRUCache } from 'lru-cache';
import type { EpochMs } from '../clock.ts';
import type { TokenBucket } from '../token-bucket.ts';
import { CLOCK_TOLERANCE, type PodIdentity } from '../tokens/claims.ts';
import type { Admission } from './pod-gate.ts';

/** A token that was verified by this broker. */
export interface VerifiedToken {
  readonly token: string;
  readonly pod: PodIdentity;
  /** Id of the key that signed it; undefined if its header has none. */
  readonly kid: string | undefined;
  /** The key of its session. */
  readonly sessionKey: string;
  /** The rate limit of requests with it; undefined: no limit. */
  readonly budget: TokenBucket | undefined;
  /** The credentials that it was last served, so that each is audited once. */
  lastServed: object | undefined;
  /** The address from which it was last admitted, if pods are watched. */
  admission: Admission | undefined;
}

/**
 * A cache of verified tokens, so that the signature of each is checked once. When it is full, the
 * least recently used token is evicted, and verified again when it comes back.
 */
export class VerifiedTokens {
  readonly #tokens: LRUCache<string, VerifiedToken>;

  /** @param max - Tokens cached at once. */
  constructor(max: number) {
    this.#tokens = new LRUCache({ max });
  }

  get size(): number {
    return this.#tokens.size;
  }

  /** The token, if it is cached and valid at `now`, give or take {@link CLOCK_TOLERANCE}. */
  get(token: string, now: EpochMs): VerifiedToken | undefined {
    const found = this.#tokens.get(token);
    if (found === undefined) return undefined;
    if (now >= found.pod.expiresAt + CLOCK_TOLERANCE) {
      this.#tokens.delete(token);
      return undefined;
    }
    // Not valid yet: the clock was set back. The token may become valid again, so it stays.
    return now < found.pod.notBefore - CLOCK_TOLERANCE ? undefined : found;
  }

  /** As {@link get}, but does not count as a use. */
  peek(token: string, now: EpochMs): VerifiedToken | undefined {
    const found = this.#tokens.peek(token);
    if (found === undefined || now >= found.pod.expiresAt + CLOCK_TOLERANCE) return undefined;
    return now < found.pod.notBefore - CLOCK_TOLERANCE ? undefined : found;
  }

  add(verified: VerifiedToken): void {
    this.#tokens.set(verified.token, verified);
  }

  /** Drops every token for which `keep` returns false; returns how many. */
  retain(keep: (verified: VerifiedToken) => boolean): number {
    const dropped = [...this.#tokens.values()].filter((verified) => !keep(verified));
    for (const { token } of dropped) this.#tokens.delete(token);
    return dropped.length;
  }
}
