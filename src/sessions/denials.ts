import type { MonotonicMs } from '../clock.ts';

/** Denials in a row after which they are the session's own, if nothing points to the node. */
const OWN_DENIALS = 3;

/** Whose fault a denied renewal is: the session's own, the node's, or not known yet. */
export type Denial = 'own' | 'node' | 'unclear' | 'alarm';

/**
 * Tells a role that may no longer be assumed from a node that may no longer call EKS Auth: both
 * get AccessDenied. If no session at all is granted any more, it is the node.
 */
export class Denials {
  readonly #bySession = new Map<string, { readonly at: MonotonicMs; count: number }>();
  #grantedAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  #alarmed = false;

  /** No session is granted any more: the node is denied. */
  get alarmed(): boolean {
    return this.#alarmed;
  }

  /** EKS Auth has granted a session, so the node may call it. */
  granted(key: string, elapsed: MonotonicMs): void {
    this.#grantedAt = elapsed;
    this.#bySession.delete(key);
    this.#alarmed = false;
  }

  /** A session has ended: its denials no longer count. */
  forget(key: string): void {
    this.#bySession.delete(key);
  }

  /**
   * EKS Auth has denied the renewal of a session.
   *
   * @param others - How many other sessions the node holds.
   * @returns `own`: end the session; `node`: keep it; `alarm`: as `node`, for the first time;
   *   `unclear`: keep it for now.
   */
  denied(key: string, others: number, elapsed: MonotonicMs): Denial {
    const before = this.#bySession.get(key);
    const denial = before ?? { at: elapsed, count: 0 };
    denial.count += 1;
    this.#bySession.set(key, denial);
    const node = [...this.#bySession.values()].filter(({ at }) => at > this.#grantedAt).length > 1;
    const own =
      others === 0 || this.#grantedAt > denial.at || (!node && denial.count >= OWN_DENIALS);
    if (own) {
      this.#bySession.delete(key);
      return 'own';
    }
    if (!node) return 'unclear';
    const first = !this.#alarmed;
    this.#alarmed = true;
    return first ? 'alarm' : 'node';
  }
}
