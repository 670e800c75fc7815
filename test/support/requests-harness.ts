import type { DurationMs, MonotonicMs } from '../../src/clock.ts';
import { Identity } from '../../src/identity/identity.ts';
import { KeyRing } from '../../src/identity/key-ring.ts';
import {
  type Answer,
  CredentialRequests,
  type CredentialRequestsOptions,
} from '../../src/sessions/credential-requests.ts';
import { type ScopeRules, scopeOf, sessionKey } from '../../src/sessions/session-key.ts';
import { UnverifiedBudget } from '../../src/sessions/unverified-budget.ts';
import { type Log, silentLog } from '../../src/telemetry/log.ts';
import { type Verdict, verifyToken } from '../../src/tokens/verify.ts';
import type { Verification } from '../../src/workers/verify-batches.ts';
import { ScriptedSource } from '../identity/scripted-source.ts';
import { EXPECTED, goodClaims, ISSUER, type SigningKey, token } from '../tokens/signed-tokens.ts';
import { HOUR, SessionsHarness } from './sessions-harness.ts';

/** How long a request waits for its credentials, in these tests. */
export const CLIENT_WAIT: DurationMs = 1_900;

/** The pod that a token is made out to. */
export interface MintedPod {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly serviceAccountUid: string;
  readonly pod: string;
  readonly podUid: string;
}

/** A token, and what is true of it, whatever the broker makes of it. */
export interface MintedToken {
  readonly text: string;
  readonly pod: MintedPod;
  readonly kid: string;
}

/** A token whose verdict a worker still owes. */
export interface PendingVerification {
  readonly token: string;
  /** Gives the verdict, which is what it really is. */
  judge(): Promise<Verdict>;
}

/** One request, and how it went. */
export interface Ask {
  readonly token: string;
  readonly at: MonotonicMs;
  /** How many sets of keys there had been when it came, and when it was answered. */
  readonly keySetsBefore: number;
  keySetsAfter: number | undefined;
  answer: Answer | undefined;
  answeredAt: MonotonicMs | undefined;
}

/** What {@link RequestsHarness} is made from. */
export interface RequestsSetUp {
  readonly scopeRules?: ScopeRules;
  readonly maxCacheSize?: number;
  /** Calls a second for tokens that nobody has verified. */
  readonly unverifiedQps?: number;
  readonly unverifiedQpsPerAddress?: number;
  readonly log?: Log;
  readonly podGate?: CredentialRequestsOptions['podGate'];
}

/**
 * All that is behind the listener, from the token to the body: identity with real keys and real
 * signatures, sessions, flights and the queue. What is outside of the process answers when and
 * how the test says: worker threads, the source of the keys, and EKS Auth.
 */
export class RequestsHarness {
  readonly eksAuth: SessionsHarness;
  readonly source = new ScriptedSource('source');
  readonly keyRing: KeyRing;
  readonly identity: Identity;
  readonly requests: CredentialRequests;
  readonly asks: Ask[] = [];
  readonly pendingVerifications: PendingVerification[] = [];
  /** Tokens that have verified here at some time. */
  readonly verified = new Set<string>();
  /** Gives each verdict at once; otherwise the test does. */
  autoVerify = true;
  /** The key ids of each set of keys that was used, in their order. */
  readonly keySets: (readonly (string | undefined)[])[] = [];
  callsSaved = 0;
  readonly unverified: string[] = [];
  #minted = 0;

  constructor({
    scopeRules = { sessionScope: 'service-account', podScope: [] },
    maxCacheSize = 2_000,
    unverifiedQps = 5,
    unverifiedQpsPerAddress = 1,
    log = silentLog,
    podGate,
  }: RequestsSetUp = {}) {
    this.eksAuth = new SessionsHarness({ maxCacheSize });
    const { clock, sessions, queue } = this.eksAuth;
    this.keyRing = new KeyRing({
      clock,
      log,
      sourcesOf: () => [this.source],
      onChange: (isPublished) => {
        this.keySets.push(this.keyRing.keys?.jwks.keys.map(({ kid }) => kid) ?? []);
        this.identity.forgetUnpublished(isPublished);
        void this.requests.adoptUnverified();
      },
      patience: CLIENT_WAIT,
      clusterName: 'test',
    });
    this.identity = new Identity({
      clock,
      keyRing: this.keyRing,
      expected: EXPECTED,
      maxPodQps: 0,
      maxVerifiedTokens: 1_000,
      workers: { verify: (task) => this.#verify(task) },
      sessionKeyOf: (pod, text) => sessionKey(pod, text, scopeOf(pod, scopeRules)),
      onJudged: () => undefined,
    });
    this.requests = new CredentialRequests({
      clock,
      log,
      identity: this.identity,
      sessions,
      queue,
      keyRing: this.keyRing,
      budget: new UnverifiedBudget(clock, unverifiedQps, unverifiedQpsPerAddress),
      scopeRules,
      clientWait: CLIENT_WAIT,
      podGate,
      onUnverified: (cause) => this.unverified.push(cause),
      onCallSaved: () => {
        this.callsSaved += 1;
      },
    });
  }

  get clock(): SessionsHarness['clock'] {
    return this.eksAuth.clock;
  }

  /**
   * A token that lives a day, which EKS Auth knows.
   *
   * @param issuer - Default is the cluster's.
   */
  mint(pod: MintedPod, key: SigningKey, issuer = ISSUER): MintedToken {
    this.#minted += 1;
    const claims = goodClaims(
      {
        iss: issuer,
        jti: `token-${this.#minted}`,
        sub: `system:serviceaccount:${pod.namespace}:${pod.serviceAccount}`,
        'kubernetes.io': {
          namespace: pod.namespace,
          pod: { name: pod.pod, uid: pod.podUid },
          serviceaccount: { name: pod.serviceAccount, uid: pod.serviceAccountUid },
        },
      },
      this.clock.now(),
    );
    const text = token(claims, key);
    const expiresAt = this.clock.now() + 24 * HOUR;
    const identity = { ...pod, node: undefined, issuer, notBefore: this.clock.now(), expiresAt };
    this.eksAuth.known.set(text, { token: text, pod: identity });
    return { text, pod, kid: key.kid };
  }

  /** Asks as the listener does: for what is there, and for what has to be waited for. */
  ask(text: string, address = '10.0.0.1'): Ask {
    const ask: Ask = {
      token: text,
      at: this.clock.elapsed(),
      keySetsBefore: this.keySets.length,
      keySetsAfter: undefined,
      answer: undefined,
      answeredAt: undefined,
    };
    this.asks.push(ask);
    const answered = (answer: Answer) => {
      ask.answer = answer;
      ask.keySetsAfter = this.keySets.length;
      ask.answeredAt = this.clock.elapsed();
    };
    const hit = this.requests.hit(text, { remoteAddress: address });
    if (hit === undefined)
      void this.requests.obtain(text, { address, source: address }).then(answered);
    else answered({ kind: 'credentials', body: hit.credentials.body, outcome: 'hit' });
    return ask;
  }

  /** Moves the time on, with all verdicts given on the way where {@link autoVerify} is set. */
  async pass(ms: DurationMs): Promise<void> {
    await this.clock.advance(0);
    await this.#judgeAll();
    await this.clock.advance(ms);
    await this.#judgeAll();
  }

  /** Lets all that waits for nothing from outside run to its end. */
  async settle(): Promise<void> {
    await this.pass(0);
  }

  /** Ends what goes on by itself. */
  stop(): void {
    this.keyRing.stop();
    this.eksAuth.sessions.stop();
    this.eksAuth.queue.stop();
  }

  async #judgeAll(): Promise<void> {
    while (this.autoVerify && this.pendingVerifications.length > 0) {
      for (const pending of [...this.pendingVerifications]) await pending.judge();
      await this.clock.advance(0);
    }
  }

  #verify({ token: text, keys, expected, now }: Verification): Promise<Verdict> {
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    const pending: PendingVerification = {
      token: text,
      judge: async () => {
        this.pendingVerifications.splice(this.pendingVerifications.indexOf(pending), 1);
        const verdict = await verifyToken(text, keys, expected, now);
        if (verdict.verdict === 'verified') this.verified.add(text);
        resolve(verdict);
        return verdict;
      },
    };
    this.pendingVerifications.push(pending);
    return promise;
  }
}

/** The access key id in an answer; undefined where it is not credentials. */
export function accessKeyIdOf(answer: Answer | undefined): string | undefined {
  if (answer?.kind !== 'credentials') return undefined;
  return (JSON.parse(answer.body) as { AccessKeyId: string }).AccessKeyId;
}
