import type { Clock, EpochMs } from '../clock.ts';
import type { WorkTimes } from '../telemetry/tracing.ts';
import { TokenBucket } from '../token-bucket.ts';
import type { ClaimExpectations, PodIdentity } from '../tokens/claims.ts';
import type { UnprovenCause } from '../tokens/verify.ts';
import type { Workers } from '../workers/pool.ts';
import type { TimedVerdict } from '../workers/verify.ts';
import type { KeyRing } from './key-ring.ts';
import { type VerifiedToken, VerifiedTokens } from './verified-tokens.ts';

/** Burst of requests per token, in seconds of `maxPodQps`. */
const BURST_SECONDS = 5;

/**
 * Why a token could not be verified, so that EKS Auth has to decide. `clock`: only its times are
 * wrong, and the current time is in doubt.
 */
export type UnverifiedCause = UnprovenCause | 'clock';

/** The result of identifying a token's pod. */
type Who =
  /** Verified: signature, issuer, audience, times and claims were checked here. */
  | { readonly kind: 'verified'; readonly verified: VerifiedToken }
  /** The claims are valid, but no key verifies them: EKS Auth has to decide. */
  | { readonly kind: 'unverified'; readonly pod: PodIdentity; readonly cause: UnverifiedCause }
  /** Invalid; EKS Auth is not asked. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** Cannot be decided now; a retry may succeed. */
  | { readonly kind: 'unavailable'; readonly reason: string };

/** The pod of a token; `times`: when a worker verified it, if one had to. */
export type Identified = Who & { readonly times?: WorkTimes | undefined };

/** What {@link Identity.identify} would return for a token. */
export interface Preview {
  readonly verdict: TimedVerdict;
  readonly who: Identified;
  /** The token is cached as verified, and would not be verified again. */
  readonly remembered: boolean;
}

/** What {@link Identity} is made from. */
export interface IdentityOptions {
  /** `alternatives`: other possible times, if the time is in doubt. */
  readonly clock: Clock & { readonly alternatives?: readonly EpochMs[] };
  /** Verifies signatures on worker threads. */
  readonly workers: Pick<Workers, 'verify'>;
  /** The issuer's keys. */
  readonly keyRing: KeyRing;
  /** What the claims of a token must contain. */
  readonly expected: ClaimExpectations;
  /** Verified tokens cached at once, at least 1. */
  readonly maxVerifiedTokens: number;
  /** Requests per second with one token; 0: no limit. */
  readonly maxPodQps: number;
  /** Returns the key of the session of a verified pod's token. */
  readonly sessionKeyOf: (pod: PodIdentity, token: string) => string;
  /** Called for each identified token: verified, refused, or left to EKS Auth (`skipped`). */
  readonly onJudged: (result: 'success' | 'failure' | 'skipped') => void;
}

/** Identifies the pods of tokens, and caches verified tokens. */
export class Identity {
  readonly #options: IdentityOptions;
  readonly #verified: VerifiedTokens;
  readonly #underWay = new Map<string, Promise<Identified>>();

  constructor(options: IdentityOptions) {
    this.#options = options;
    this.#verified = new VerifiedTokens(options.maxVerifiedTokens);
  }

  /** How many verified tokens are cached. */
  get remembered(): number {
    return this.#verified.size;
  }

  /** The cached token, if it is valid at `now`. Every hit comes here. */
  recall(token: string, now: EpochMs): VerifiedToken | undefined {
    return this.#verified.get(token, now);
  }

  /** Drops cached tokens whose keys are no longer published; returns how many. */
  forgetUnpublished(isPublished: (kid: string | undefined) => boolean): number {
    return this.#verified.retain((verified) => isPublished(verified.kid));
  }

  /**
   * Identifies the pod of `token`. Concurrent calls for the same token share one verification.
   *
   * @param token - As presented.
   * @throws what the worker pool rejects with, if the verification could not be made.
   */
  identify(token: string): Promise<Identified> {
    const underWay = this.#underWay.get(token);
    if (underWay !== undefined) return underWay;
    const started = this.#identify(token)
      .then((who) => {
        this.#options.onJudged(JUDGED[who.kind]);
        return who;
      })
      .finally(() => this.#underWay.delete(token));
    this.#underWay.set(token, started);
    return started;
  }

  /** Whether {@link identify} is in progress for `token`. */
  isJudging(token: string): boolean {
    return this.#underWay.has(token);
  }

  /** What {@link identify} would return now; caches, counts and fetches nothing. */
  async preview(token: string): Promise<Preview> {
    const { clock } = this.#options;
    const verdict = await this.#verify(token);
    const known = this.#verified.peek(token, clock.now());
    const remembered = known !== undefined;
    if (known !== undefined) {
      return { verdict, remembered, who: { kind: 'verified', verified: known } };
    }
    if (verdict.verdict === 'unfit') {
      return { verdict, remembered, who: await this.#unfit(token, verdict.reason) };
    }
    if (verdict.verdict === 'unproven') {
      return { verdict, remembered, who: this.#unproven(verdict.pod, verdict.cause) };
    }
    const verified = this.#verifiedToken(token, verdict.pod, verdict.kid);
    return { verdict, remembered, who: { kind: 'verified', verified } };
  }

  async #identify(token: string): Promise<Identified> {
    const { clock, keyRing } = this.#options;
    await keyRing.decided();
    for (;;) {
      const remembered = this.#verified.get(token, clock.now());
      if (remembered !== undefined) return { kind: 'verified', verified: remembered };
      const keys = keyRing.keys;
      const verdict = await this.#verify(token);
      const { times } = verdict;
      // The keys were replaced meanwhile: verify again with the new ones.
      if (verdict.verdict !== 'unfit' && keys?.id !== keyRing.keys?.id) continue;
      if (verdict.verdict === 'verified') {
        keyRing.prove((keys as { id: number }).id);
        return {
          kind: 'verified',
          verified: this.#remember(token, verdict.pod, verdict.kid),
          times,
        };
      }
      if (verdict.verdict === 'unfit') {
        return { ...(await this.#unfit(token, verdict.reason)), times };
      }
      if (verdict.cause === 'unknown-key' && (await keyRing.refreshForUnknownKey())) continue;
      return { ...this.#unproven(verdict.pod, verdict.cause), times };
    }
  }

  #verify(token: string, now = this.#options.clock.now()): Promise<TimedVerdict> {
    const { workers, keyRing, expected } = this.#options;
    return workers.verify({ token, keys: keyRing.keys, expected, now });
  }

  /**
   * A token that is invalid at the current time. If it is valid at another possible time, EKS Auth
   * is asked: it knows the time, and its answer corrects the clock.
   */
  async #unfit(token: string, reason: string): Promise<Who> {
    for (const now of this.#options.clock.alternatives ?? []) {
      const verdict = await this.#verify(token, now);
      if (verdict.verdict === 'verified') {
        return { kind: 'unverified', pod: verdict.pod, cause: 'clock' };
      }
      if (verdict.verdict === 'unproven') return this.#unproven(verdict.pod, verdict.cause);
    }
    return { kind: 'refused', reason };
  }

  #remember(token: string, pod: PodIdentity, kid: string | undefined): VerifiedToken {
    const verified = this.#verifiedToken(token, pod, kid);
    this.#verified.add(verified);
    return verified;
  }

  #verifiedToken(token: string, pod: PodIdentity, kid: string | undefined): VerifiedToken {
    const sessionKey = this.#options.sessionKeyOf(pod, token);
    const rate = this.#options.maxPodQps;
    const budget = rate === 0 ? undefined : new TokenBucket(rate, rate * BURST_SECONDS);
    return { token, pod, kid, sessionKey, budget, lastServed: undefined, admission: undefined };
  }

  /** A token that no key verifies: it is refused only if the keys are proven to be the right ones. */
  #unproven(pod: PodIdentity, cause: UnprovenCause): Who {
    const { keyRing } = this.#options;
    if (cause === 'no-keys' || !keyRing.proven) return { kind: 'unverified', pod, cause };
    if (cause === 'unknown-key' && keyRing.outdated) {
      return { kind: 'unavailable', reason: 'the keys of the token issuer cannot be had now' };
    }
    return { kind: 'refused', reason: REFUSAL[cause] };
  }
}

const JUDGED = {
  verified: 'success',
  refused: 'failure',
  unverified: 'skipped',
  unavailable: 'skipped',
} as const;

const REFUSAL: Readonly<Record<Exclude<UnprovenCause, 'no-keys'>, string>> = {
  'unknown-key': 'it is signed with a key that its issuer does not publish (kid)',
  'other-issuer': "its issuer (iss) is not this cluster's",
  'bad-signature': 'its signature does not verify',
};
