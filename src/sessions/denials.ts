import type { MonotonicMs } from '../clock.ts';

/** Denials of one session, without a sign either way, after which it is taken to be its own. */
const CONVINCING = 3;

/** What a denied renewal means: the session's own trouble, or the node's, or not known yet. */
export type Denial = 'own' | 'node' | 'unclear' | 'alarm';

/**
 * Tells a role that may no longer be assumed from a node that may no longer ask: EKS Auth
 * answers AccessDenied to both. If nothing at all is granted any more, it is the node.
 */
export class Denials {
  readonly #since = new Map<string, { readonly at: MonotonicMs; count: number }>();
  #grantedAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  #alarmed = false;

  /** Nothing at all is granted any more. */
  get alarmed(): boolean {
    return this.#alarmed;
  }

  /** EKS Auth has granted a session: the node may ask. */
  granted(key: string, elapsed: MonotonicMs): void {
    this.#grantedAt = elapsed;
    this.#since.delete(key);
    this.#alarmed = false;
  }

  /** A session has ended: its denials say nothing any more. */
  forget(key: string): void {
    this.#since.delete(key);
  }

  /**
   * EKS Auth has denied the renewal of a session.
   *
   * @param others - How many other sessions the node holds.
   * @returns `own`: end it; `alarm`: the node's, and this is the first time that it shows.
   */
  denied(key: string, others: number, elapsed: MonotonicMs): Denial {
    const before = this.#since.get(key);
    const denial = before ?? { at: elapsed, count: 0 };
    denial.count += 1;
    this.#since.set(key, denial);
    const node = [...this.#since.values()].filter(({ at }) => at > this.#grantedAt).length > 1;
    const own =
      others === 0 || this.#grantedAt > denial.at || (!node && denial.count >= CONVINCING);
    if (own) {
      this.#since.delete(key);
      return 'own';
    }
    if (!node) return 'unclear';
    const first = !this.#alarmed;
    this.#alarmed = true;
    return first ? 'alarm' : 'node';
  }
}
