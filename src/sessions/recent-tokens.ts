import type { EpochMs } from '../clock.ts';
import type { PodIdentity } from '../tokens/claims.ts';

/** A service account token and the pod that it was issued to. */
export interface LiveToken {
  readonly token: string;
  readonly pod: PodIdentity;
}

/** Tokens remembered per session. A renewal needs one; the others are its replacements. */
const MAX_TOKENS = 4;

/** The tokens with which a session can be fetched and renewed, held in memory only. */
export class RecentTokens {
  #tokens: LiveToken[] = [];

  /** Remembers a token: one per pod, and the four that expire last. */
  add(added: LiveToken): void {
    const known = this.#tokens.find(({ pod }) => pod.podUid === added.pod.podUid);
    if (known?.token === added.token) return;
    // A pod's new token replaces its old one, even if some of its processes still present that.
    if (known !== undefined && known.pod.expiresAt > added.pod.expiresAt) return;
    this.#tokens = this.#tokens.filter(({ pod }) => pod.podUid !== added.pod.podUid);
    this.#tokens.push(added);
    this.#tokens.sort((a, b) => b.pod.expiresAt - a.pod.expiresAt);
    this.#tokens.length = Math.min(this.#tokens.length, MAX_TOKENS);
  }

  /** The tokens that have not expired, the one that expires last first. */
  live(now: EpochMs): LiveToken[] {
    this.#tokens = this.#tokens.filter(({ pod }) => pod.expiresAt > now);
    return [...this.#tokens];
  }

  /** Forgets a token that EKS Auth has rejected. */
  remove(rejected: string): void {
    this.#tokens = this.#tokens.filter(({ token }) => token !== rejected);
  }

  /** Forgets the token of a pod that has left the node. */
  removePod(podUid: string): void {
    this.#tokens = this.#tokens.filter(({ pod }) => pod.podUid !== podUid);
  }

  get size(): number {
    return this.#tokens.length;
  }
}
