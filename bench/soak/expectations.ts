import type { DurationMs, EpochMs } from '../../src/clock.ts';
import type { Health } from './health.ts';
import type { Keys } from './keys.ts';
import type { HeldToken, SoakPod } from './world.ts';

/** A token that ends this soon may be refused by the time it is used. */
const ABOUT_TO_END: DurationMs = 3_000;

/** What {@link Expectations} go by. */
export interface ExpectationsOptions {
  readonly eksAuth: Health;
  readonly keys: Keys;
  /** By how much the service's clock is ahead of this one. */
  readonly clockOffset: DurationMs;
}

/** What pods can count on. */
export class Expectations {
  readonly #options: ExpectationsOptions;

  constructor(options: ExpectationsOptions) {
    this.#options = options;
  }

  /** The time by the clock of EKS Auth and of the tokens. */
  serviceNow(): EpochMs {
    return Date.now() + this.#options.clockOffset;
  }

  /** Whether a token has to be believed: it is valid, and broker and EKS Auth know its key. */
  isGood(token: HeldToken): boolean {
    if (this.serviceNow() >= token.expiresAt - ABOUT_TO_END) return false;
    return this.#options.keys.isGood(token.kid, Date.now());
  }

  /** Whether a pod has to be given credentials: nothing stands in the way. */
  isServed({ account }: SoakPod, token: HeldToken): boolean {
    const now = Date.now();
    const { eksAuth } = this.#options;
    return now >= eksAuth.wellFrom && now >= account.usableFrom && this.isGood(token);
  }
}
