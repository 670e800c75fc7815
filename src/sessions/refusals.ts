import type { DurationMs, MonotonicMs } from '../clock.ts';
import type { FetchFailure } from './failure.ts';

/** How long a first refusal is remembered; doubled with each that follows. */
const INITIAL: DurationMs = 1_000;
/** The longest: a new association has to work within seconds of becoming visible. */
const MAX: DurationMs = 4_000;
/** How long after it lapsed a refusal still counts as the one before. */
const REMEMBERED: DurationMs = 10_000;
/** How long after a refusal the session's next token has to wait. */
const BETWEEN_TOKENS: DurationMs = 1_000;
/** Tokens remembered as refused, for a session. */
const MAX_REMEMBERED = 256;

interface Refusal {
  readonly failure: FetchFailure;
  readonly until: MonotonicMs;
  readonly lasts: DurationMs;
}

/**
 * Refusals of one session, each held against the token that drew it and no other: a pod that
 * is refused must not be the reason to refuse its neighbours.
 */
export class Refusals {
  readonly #byToken = new Map<string, Refusal>();
  #lastAt: MonotonicMs = Number.NEGATIVE_INFINITY;

  /** Notes that EKS Auth refused a session for `token`. */
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

  /** The refusal that still stands for `token`. */
  standing(token: string, elapsed: MonotonicMs): FetchFailure | undefined {
    const refusal = this.#byToken.get(token);
    return refusal !== undefined && elapsed < refusal.until ? refusal.failure : undefined;
  }

  /** Whether `token` was refused, lately enough to be refused again. */
  has(token: string, elapsed: MonotonicMs): boolean {
    const refusal = this.#byToken.get(token);
    return refusal !== undefined && elapsed < refusal.until + REMEMBERED;
  }

  /** When another token of the session may be tried. */
  get nextTryAt(): MonotonicMs {
    return this.#lastAt + BETWEEN_TOKENS;
  }

  /** When the first of the refusals that stand now lapses. */
  lapseAt(elapsed: MonotonicMs): MonotonicMs {
    const standing = [...this.#byToken.values()].filter(({ until }) => elapsed < until);
    return Math.min(elapsed + MAX, ...standing.map(({ until }) => until));
  }

  /** Everything is forgotten once the session was granted. */
  clear(): void {
    this.#byToken.clear();
    this.#lastAt = Number.NEGATIVE_INFINITY;
  }

  /** When nothing of this matters any more. */
  get forgottenAt(): MonotonicMs {
    return this.#byToken.size === 0 ? this.#lastAt : this.#lastAt + MAX + REMEMBERED;
  }
}
