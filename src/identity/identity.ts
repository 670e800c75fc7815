import type { Clock, EpochMs } from '../clock.ts';
import type { WorkTimes } from '../telemetry/tracing.ts';
import { TokenBucket } from '../token-bucket.ts';
import type { ClaimExpectations, PodIdentity } from '../tokens/claims.ts';
import type { UnprovenCause } from '../tokens/verify.ts';
import type { Workers } from '../workers/pool.ts';
import type { TimedVerdict } from '../workers/verify.ts';
import type { KeyRing } from './key-ring.ts';
import { type VerifiedToken, VerifiedTokens } from './verified-tokens.ts';

/** Seconds' worth of requests that may be made with a token at once. */
const BURST_SECONDS = 5;

/**
 * Why EKS Auth has to judge a token; `clock`: it would pass but for its times, and what the time
 * is cannot be told.
 */
export type UnverifiedCause = UnprovenCause | 'clock';

/** Who presents a token, as far as can be told. */
type Who =
  /** Proven: signature, issuer, audience, times and claims were checked here. */
  | { readonly kind: 'verified'; readonly verified: VerifiedToken }
  /** Claims that would pass, but no key that proves them: EKS Auth has to judge. */
  | { readonly kind: 'unverified'; readonly pod: PodIdentity; readonly cause: UnverifiedCause }
  /** Not acceptable, whoever judges. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** Cannot be told now; may be told in a moment. */
  | { readonly kind: 'unavailable'; readonly reason: string };

/** Who presents a token, and when a worker found that out, if one had to. */
export type Identified = Who & { readonly times?: WorkTimes | undefined };

/** What would be said of a token. */
export interface Preview {
  readonly verdict: TimedVerdict;
  readonly who: Identified;
  /** It was verified before, and would not be verified again. */
  readonly remembered: boolean;
}

/** What {@link Identity} is made from. */
export interface IdentityOptions {
  /** `alternatives`: what else the time may be, where that is in doubt. */
  readonly clock: Clock & { readonly alternatives?: readonly EpochMs[] };
  /** Verify on threads of their own. */
  readonly workers: Pick<Workers, 'verify'>;
  /** The issuer's keys. */
  readonly keyRing: KeyRing;
  /** What tokens have to say. */
  readonly expected: ClaimExpectations;
  /** Tokens remembered at once, at least 1. */
  readonly maxVerifiedTokens: number;
  /** Requests a second with one token; 0: no bound. */
  readonly maxPodQps: number;
  /** The session that a verified pod's token opens; decided by the sessions room. */
  readonly sessionKeyOf: (pod: PodIdentity, token: string) => string;
  /** Called for each token that was judged: verified, refused, or left to EKS Auth. */
  readonly onJudged: (result: 'success' | 'failure' | 'skipped') => void;
}

/** Tells who presents a token, and remembers whom it has told. */
export class Identity {
  readonly #options: IdentityOptions;
  readonly #verified: VerifiedTokens;
  readonly #underWay = new Map<string, Promise<Identified>>();

  constructor(options: IdentityOptions) {
    this.#options = options;
    this.#verified = new VerifiedTokens(options.maxVerifiedTokens);
  }

  /** Tokens remembered as verified. */
  get remembered(): number {
    return this.#verified.size;
  }

  /** The token, if it was verified before and is valid now; this is the way of every hit. */
  recall(token: string, now: EpochMs): VerifiedToken | undefined {
    return this.#verified.get(token, now);
  }

  /** Forgets the tokens whose keys are no longer published, and says how many those were. */
  forgetUnpublished(isPublished: (kid: string | undefined) => boolean): number {
    return this.#verified.retain((verified) => isPublished(verified.kid));
  }

  /**
   * Finds out who presents `token`. A token that several ask about at once is judged once.
   *
   * @param token - As presented.
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

  /** Whether it is being found out who presents `token`. */
  isJudging(token: string): boolean {
    return this.#underWay.has(token);
  }

  /** Says what would be said of a token now; remembers, counts and fetches nothing. */
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
      // A verdict under keys that were replaced meanwhile says nothing about today's.
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
   * A token that is unfit at this time. If it would be proven at another time that it may be as
   * well, EKS Auth is asked: its answer sets the clock right, and its verdict is the better one.
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
    return { token, pod, kid, sessionKey, budget, handed: undefined, admission: undefined };
  }

  /** What a token without proof is worth: keys that have proven themselves may refuse it. */
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
