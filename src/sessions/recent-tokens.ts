import type { EpochMs } from '../clock.ts';
import type { PodIdentity } from '../tokens/claims.ts';

/** A service account token and the pod that it speaks for. */
export interface LiveToken {
  readonly token: string;
  readonly pod: PodIdentity;
}

/** Tokens remembered for a session. A renewal needs one; the others are for when it is spent. */
const MAX_TOKENS = 4;

/** The tokens by which a session can be fetched and renewed, held in memory only. */
export class RecentTokens {
  #tokens: LiveToken[] = [];

  /** Remembers a token; of more than a few, those that live longest are kept. */
  add(added: LiveToken): void {
    const known = this.#tokens.find(({ pod }) => pod.podUid === added.pod.podUid);
    if (known?.token === added.token) return;
    // A pod's new token takes the place of its old one, which some of its processes may go on
    // presenting.
    if (known !== undefined && known.pod.expiresAt > added.pod.expiresAt) return;
    this.#tokens = this.#tokens.filter(({ pod }) => pod.podUid !== added.pod.podUid);
    this.#tokens.push(added);
    this.#tokens.sort((a, b) => b.pod.expiresAt - a.pod.expiresAt);
    this.#tokens.length = Math.min(this.#tokens.length, MAX_TOKENS);
  }

  /** The live tokens, longest life first. */
  live(now: EpochMs): LiveToken[] {
    this.#tokens = this.#tokens.filter(({ pod }) => pod.expiresAt > now);
    return [...this.#tokens];
  }

  /** Forgets a token that EKS Auth has called spent. */
  remove(spent: string): void {
    this.#tokens = this.#tokens.filter(({ token }) => token !== spent);
  }

  /** Forgets the token of a pod that is gone. */
  removePod(podUid: string): void {
    this.#tokens = this.#tokens.filter(({ pod }) => pod.podUid !== podUid);
  }

  get size(): number {
    return this.#tokens.length;
  }
}
