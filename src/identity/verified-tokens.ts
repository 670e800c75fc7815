import { LRUCache } from 'lru-cache';
import type { EpochMs } from '../clock.ts';
import type { TokenBucket } from '../token-bucket.ts';
import { CLOCK_TOLERANCE, type PodIdentity } from '../tokens/claims.ts';
import type { Admission } from './pod-gate.ts';

/** A token that was verified here, and what was learned from it. */
export interface VerifiedToken {
  readonly token: string;
  readonly pod: PodIdentity;
  /** Id of the key that signed it; undefined where its header named none. */
  readonly kid: string | undefined;
  /** The session that it opens. */
  readonly sessionKey: string;
  /** What may be asked with it, a token being one pod's; undefined: no bound. */
  readonly budget: TokenBucket | undefined;
  /** The credentials that its pod was last handed, so that this is audited once. */
  handed: object | undefined;
  /** From where it was last found to be its pod's own, where pods are watched. */
  admission: Admission | undefined;
}

/**
 * Verified tokens by their text, so that a token costs one signature check in its life.
 * Bounded: the least recently used goes first and is verified again when it comes back.
 */
export class VerifiedTokens {
  readonly #tokens: LRUCache<string, VerifiedToken>;

  /** @param most - Tokens remembered at once. */
  constructor(most: number) {
    this.#tokens = new LRUCache({ max: most });
  }

  get size(): number {
    return this.#tokens.size;
  }

  /** The token, if it was verified and is valid at `now`, with the usual tolerance. */
  get(token: string, now: EpochMs): VerifiedToken | undefined {
    const found = this.#tokens.get(token);
    if (found === undefined) return undefined;
    if (now >= found.pod.expiresAt + CLOCK_TOLERANCE) {
      this.#tokens.delete(token);
      return undefined;
    }
    // A clock that was set back: the token may become valid again, so it stays.
    return now < found.pod.notBefore - CLOCK_TOLERANCE ? undefined : found;
  }

  /** The same, without counting as a use. */
  peek(token: string, now: EpochMs): VerifiedToken | undefined {
    const found = this.#tokens.peek(token);
    if (found === undefined || now >= found.pod.expiresAt + CLOCK_TOLERANCE) return undefined;
    return now < found.pod.notBefore - CLOCK_TOLERANCE ? undefined : found;
  }

  add(verified: VerifiedToken): void {
    this.#tokens.set(verified.token, verified);
  }

  /** Forgets every token for which `keep` is false, and says how many those were. */
  retain(keep: (verified: VerifiedToken) => boolean): number {
    const dropped = [...this.#tokens.values()].filter((verified) => !keep(verified));
    for (const { token } of dropped) this.#tokens.delete(token);
    return dropped.length;
  }
}
