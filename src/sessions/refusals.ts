import type { DurationMs, MonotonicMs } from '../clock.ts';
import type { FetchFailure } from './failure.ts';

/** How long a first refusal applies; doubled with each that follows. */
const INITIAL: DurationMs = 1_000;
/** The longest that one applies: a new association has to work within seconds. */
const MAX: DurationMs = 4_000;
/** How long after a refusal has expired the next one counts as a repetition. */
const REMEMBERED: DurationMs = 10_000;
/** How long after a refusal another token of the session may not be tried. */
const BETWEEN_TOKENS: DurationMs = 1_000;
/** Refused tokens remembered per session. */
const MAX_REMEMBERED = 256;

interface Refusal {
  readonly failure: FetchFailure;
  readonly until: MonotonicMs;
  readonly lasts: DurationMs;
}

/**
 * The refusals of one session. Each applies only to the token that was refused: other pods of the
 * session must not be refused because of it.
 */
export class Refusals {
  readonly #byToken = new Map<string, Refusal>();
  #lastAt: MonotonicMs = Number.NEGATIVE_INFINITY;

  /** Records that EKS Auth refused `token`. */
  add(token: string, failure: FetchFailure, elapsed: MonotonicMs): void {
    const before = this.#byToken.get(token);
    const again = before !== undefined && elapsed < before.until + REMEMBERED;
    const lasts = again ? Math.min(MAX, before.lasts * 2) : INITIAL;
    this.#byToken.delete(token);
    if (this.#byToken.size >= MAX_REMEMBERED) {
      this.#byToken.delete(this.#byToken.keys().next().value as string);
    }
    this.#byToken.set(token, { failure, until: elapsed + lasts, lasts });
    this.#lastAt = elapsed;
  }

  /** The refusal of `token`, if it still applies. */
  active(token: string, elapsed: MonotonicMs): FetchFailure | undefined {
    const refusal = this.#byToken.get(token);
    return refusal !== undefined && elapsed < refusal.until ? refusal.failure : undefined;
  }

  /** Whether `token` was refused recently, so that it may well be refused again. */
  isRecent(token: string, elapsed: MonotonicMs): boolean {
    const refusal = this.#byToken.get(token);
    return refusal !== undefined && elapsed < refusal.until + REMEMBERED;
  }

  /** The earliest time at which another token of the session may be tried. */
  get nextTryAt(): MonotonicMs {
    return this.#lastAt + BETWEEN_TOKENS;
  }

  /** When the first of the active refusals expires; in 4 s if there are none. */
  nextExpiry(elapsed: MonotonicMs): MonotonicMs {
    const active = [...this.#byToken.values()].filter(({ until }) => elapsed < until);
    return Math.min(elapsed + MAX, ...active.map(({ until }) => until));
  }

  /** Forgets everything: the session was granted. */
  clear(): void {
    this.#byToken.clear();
    this.#lastAt = Number.NEGATIVE_INFINITY;
  }

  /** When none of the refusals matters any more. */
  get forgottenAt(): MonotonicMs {
    return this.#byToken.size === 0 ? this.#lastAt : this.#lastAt + MAX + REMEMBERED;
  }
}
