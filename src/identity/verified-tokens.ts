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

/** A cached token, between those that were used before and after it. */
interface Entry {
  readonly verified: VerifiedToken;
  older: Entry | undefined;
  newer: Entry | undefined;
}

/**
 * A cache of verified tokens, so that the signature of each is checked once. When it is full, the
 * least recently used token is evicted, and verified again when it comes back.
 *
 * Every hit looks its token up here, so the order of use is a list through the entries themselves:
 * with a cache from a library, which takes options and tells observers, there are 2 to 5 % fewer
 * hits a second over connections that are kept.
 */
export class VerifiedTokens {
  readonly #max: number;
  readonly #entries = new Map<string, Entry>();
  /** The least and the most recently used. */
  #oldest: Entry | undefined;
  #newest: Entry | undefined;

  /** @param max - Tokens cached at once. */
  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The token, if it is cached and valid at `now`, give or take {@link CLOCK_TOLERANCE}. */
  get(token: string, now: EpochMs): VerifiedToken | undefined {
    const entry = this.#entries.get(token);
    if (entry === undefined) return undefined;
    const { pod } = entry.verified;
    if (now >= pod.expiresAt + CLOCK_TOLERANCE) {
      this.#delete(entry);
      return undefined;
    }
    if (entry !== this.#newest) {
      this.#unlink(entry);
      this.#append(entry);
    }
    // Not valid yet: the clock was set back. The token may become valid again, so it stays.
    return now < pod.notBefore - CLOCK_TOLERANCE ? undefined : entry.verified;
  }

  /** As {@link get}, but does not count as a use. */
  peek(token: string, now: EpochMs): VerifiedToken | undefined {
    const found = this.#entries.get(token)?.verified;
    if (found === undefined || now >= found.pod.expiresAt + CLOCK_TOLERANCE) return undefined;
    return now < found.pod.notBefore - CLOCK_TOLERANCE ? undefined : found;
  }

  /** Caches a token, instead of what is cached of it. */
  add(verified: VerifiedToken): void {
    const before = this.#entries.get(verified.token);
    if (before !== undefined) this.#delete(before);
    else if (this.#entries.size >= this.#max && this.#oldest !== undefined) {
      this.#delete(this.#oldest);
    }
    const entry: Entry = { verified, older: undefined, newer: undefined };
    this.#entries.set(verified.token, entry);
    this.#append(entry);
  }

  /** Drops every token for which `keep` returns false; returns how many. */
  retain(keep: (verified: VerifiedToken) => boolean): number {
    const dropped = [...this.#entries.values()].filter(({ verified }) => !keep(verified));
    for (const entry of dropped) this.#delete(entry);
    return dropped.length;
  }

  #delete(entry: Entry): void {
    this.#entries.delete(entry.verified.token);
    this.#unlink(entry);
  }

  /** Puts an entry that is not in the list behind all others. */
  #append(entry: Entry): void {
    entry.older = this.#newest;
    entry.newer = undefined;
    if (this.#newest === undefined) this.#oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
  }

  #unlink({ older, newer }: Entry): void {
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
  }
}
