import type { Clock, DurationMs } from '../clock.ts';
import type { Identified, Identity } from '../identity/identity.ts';
import type { KeyRing } from '../identity/key-ring.ts';
import type { PodGate } from '../identity/pod-gate.ts';
import { type PodRefusal, REASONS } from '../identity/pod-verdict.ts';
import type { VerifiedToken } from '../identity/verified-tokens.ts';
import { auditLog, type Log } from '../telemetry/log.ts';
import type { RequestTrace } from '../telemetry/tracing.ts';
import type { PodIdentity } from '../tokens/claims.ts';
import type { CallQueue } from './call-queue.ts';
import type { FetchFailure } from './failure.ts';
import type { RoleSessions, Servable, SessionLookup } from './role-sessions.ts';
import { recordServed, type ServedCredentials } from './served-credentials.ts';
import type { FetchOutcome } from './session.ts';
import { type ScopeRules, scopeOf, tokenSessionKey } from './session-key.ts';
import type { UnverifiedBudget } from './unverified-budget.ts';

/** What a request gets. */
export type Answer =
  /** `body` is the answer; `outcome` says how it came about. */
  | { readonly kind: 'credentials'; readonly body: string; readonly outcome: Outcome }
  /** The token is not acceptable. */
  | { readonly kind: 'bad-token'; readonly reason: string }
  /** The token is good, but not presented by its pod. */
  | { readonly kind: 'wrong-pod'; readonly reason: string }
  /** EKS Auth or the way to it: see the failure. */
  | { readonly kind: 'failed'; readonly failure: FetchFailure; readonly retryAfter: DurationMs }
  /** The wait was over first; the work goes on. `last` is what its latest attempt failed with. */
  | {
      readonly kind: 'too-slow';
      readonly last: FetchFailure | undefined;
      readonly retryAfter: DurationMs;
    };

/**
 * From a session that was there, from one whose renewal fails, by waiting for another's fetch,
 * or by a fetch of its own.
 */
export type Outcome = 'hit' | 'stale' | 'joined' | 'miss';

/** What {@link CredentialRequests} is made from. */
export interface CredentialRequestsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly identity: Pick<Identity, 'recall' | 'identify' | 'isJudging'>;
  readonly sessions: RoleSessions;
  readonly queue: Pick<CallQueue, 'expectedWait'>;
  readonly budget: UnverifiedBudget;
  readonly scopeRules: ScopeRules;
  /** How long a request waits for its credentials. */
  readonly clientWait: DurationMs;
  readonly keyRing: Pick<KeyRing, 'onceFetched' | 'learnIssuer'>;
  /** Tells whether a token is presented by its pod, where pods are watched. */
  readonly podGate?: Pick<PodGate, 'admits' | 'judge'> | undefined;
  /** A request goes to EKS Auth because its token cannot be verified here. */
  readonly onUnverified: (cause: string) => void;
  /** A token is given credentials that another token has fetched. */
  readonly onCallSaved: () => void;
}

/** Who asks, as far as the network tells. */
export interface Caller {
  /** As the socket has it. */
  readonly address: string;
  /** Names what the address counts as where calls for unverified tokens are limited. */
  readonly source: string;
}

/** One request that waits; `last` is why it has nothing yet. */
interface Waiter {
  over: boolean;
  last: () => FetchFailure | undefined;
  readonly trace: RequestTrace | undefined;
}

/** The least that a client is asked to wait before it tries again. */
const MIN_RETRY_AFTER: DurationMs = 1_000;

/** Answers requests for credentials: who asks, which session that opens, what it holds. */
export class CredentialRequests {
  readonly #options: CredentialRequestsOptions;
  readonly #auditLog: Log;
  #unverifiedSessions = false;

  constructor(options: CredentialRequestsOptions) {
    this.#options = options;
    this.#auditLog = auditLog(options.log);
  }

  /**
   * The answer to a token that was verified before and whose session is there: no waiting, no
   * cryptography, nothing but look-ups.
   *
   * @param token - As presented.
   * @param caller - Its socket; the address is read for the audit line, and where pods are
   *   watched.
   * @param trace - The request's trace, where traces are collected.
   * @returns The session whose credentials are the answer, or undefined when {@link obtain} has
   *   to be asked.
   */
  hit(
    token: string,
    caller: { readonly remoteAddress?: string | undefined },
    trace?: RequestTrace,
  ): Servable | undefined {
    const { clock, identity, sessions, podGate } = this.#options;
    const now = clock.now();
    const verified = identity.recall(token, now);
    if (verified === undefined) return undefined;
    if (podGate !== undefined && !podGate.admits(verified, caller.remoteAddress, now)) {
      return undefined;
    }
    const session = sessions.servable(verified.sessionKey, now);
    if (session === undefined || verified.budget?.take(now) === false) return undefined;
    const { credentials } = session;
    if (now >= session.renewAt) sessions.renewIfDue(session, verified, now);
    if (verified.handed !== credentials) {
      verified.handed = credentials;
      this.#audit(credentials, verified.pod, caller.remoteAddress ?? '');
    }
    session.usage.served += 1;
    trace?.lookedUp(session.lastFailure === undefined ? 'hit' : 'stale', session);
    return session;
  }

  /** Whether a token is neither known nor being judged: to find out about it costs something. */
  isNew(token: string): boolean {
    const { identity, clock } = this.#options;
    return identity.recall(token, clock.now()) === undefined && !identity.isJudging(token);
  }

  /** Whether a token was verified here, and is valid now. */
  isVerified(token: string): boolean {
    const { identity, clock } = this.#options;
    return identity.recall(token, clock.now()) !== undefined;
  }

  /**
   * The answer to any token, after at most `clientWait`. Whatever is still under way then
   * goes on: the next try finds it done.
   *
   * @param token - As presented; nothing about it is trusted.
   * @param trace - The request's trace, where traces are collected.
   */
  async obtain(token: string, caller: Caller, trace?: RequestTrace): Promise<Answer> {
    const { clock, clientWait } = this.#options;
    const waiter: Waiter = { over: false, last: () => undefined, trace };
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const timer = clock.setTimeout(() => {
      waiter.over = true;
      resolve({ kind: 'too-slow', last: waiter.last(), retryAfter: this.#retryAfter() });
    }, clientWait);
    const work = this.#obtain(token, caller, waiter);
    try {
      return await Promise.race([work, promise]);
    } finally {
      waiter.over = true;
      clock.clearTimeout(timer);
      // What is left of the work ends by itself, and must not end the process.
      work.catch(() => undefined);
    }
  }

  async #obtain(token: string, caller: Caller, waiter: Waiter): Promise<Answer> {
    const { identity } = this.#options;
    for (;;) {
      const startedAt = Date.now();
      const who = await identity.identify(token);
      if (!waiter.over) {
        const detail = 'reason' in who ? who.reason : 'cause' in who ? who.cause : undefined;
        waiter.trace?.verified(startedAt, who.kind, detail, who.times);
      }
      if (who.kind === 'refused') return { kind: 'bad-token', reason: who.reason };
      if (who.kind === 'unavailable') {
        const failure = { kind: 'service', code: 'KeysUnavailable', message: who.reason } as const;
        return { kind: 'failed', failure, retryAfter: this.#retryAfter() };
      }
      const answer =
        who.kind === 'verified'
          ? await this.#verified(who.verified, caller.address, waiter)
          : await this.#unverified(token, who, caller, waiter);
      if (answer !== undefined) return answer;
      if (waiter.over) return { kind: 'too-slow', last: undefined, retryAfter: MIN_RETRY_AFTER };
    }
  }

  /**
   * Keys have arrived: what tokens fetched for themselves alone becomes the session that they
   * open, where they verify now.
   */
  async adoptUnverified(): Promise<void> {
    if (!this.#unverifiedSessions) return;
    const { sessions, identity, scopeRules } = this.#options;
    const tokens = sessions.tokensOfScope('token');
    await Promise.all(
      tokens.map(async (token) => {
        const who = await identity.identify(token);
        if (who.kind !== 'verified') return;
        const scope = scopeOf(who.verified.pod, scopeRules);
        if (scope !== 'token') {
          sessions.adopt(tokenSessionKey(token), who.verified.sessionKey, scope);
        }
      }),
    );
  }

  /** @returns Undefined when it is to be tried anew. */
  async #verified(
    verified: VerifiedToken,
    address: string,
    waiter: Waiter,
  ): Promise<Answer | undefined> {
    const { sessions, scopeRules, podGate } = this.#options;
    const refusal = await podGate?.judge(verified, address);
    if (refusal !== undefined) return wrongPod(refusal);
    const { pod, sessionKey, token } = verified;
    const scope = scopeOf(pod, scopeRules);
    if (this.#unverifiedSessions && scope !== 'token') {
      sessions.adopt(tokenSessionKey(token), sessionKey, scope);
    }
    const opened = sessions.open(sessionKey, scope, verified, 'foreground', traceOf(waiter));
    return await this.#await(opened, verified, address, waiter);
  }

  /**
   * A token that nothing here proves: EKS Auth judges it, within a small budget, in a session
   * of the token's own. If keys arrive while it waits, it is verified after all.
   */
  async #unverified(
    token: string,
    { pod, cause }: Extract<Identified, { kind: 'unverified' }>,
    { address, source }: Caller,
    waiter: Waiter,
  ): Promise<Answer | undefined> {
    const { sessions, budget, onUnverified, podGate, keyRing } = this.#options;
    const key = tokenSessionKey(token);
    const live = { token, pod };
    if (!sessions.isAnswered(key, token)) {
      const wait = budget.take(source);
      if (wait > 0) {
        waiter.last = () => UNVERIFIED_WAITS;
        await this.#pauseForKeys(wait);
        return undefined;
      }
      onUnverified(cause);
    }
    // Behind the budget: whoever makes tokens up must not make requests to the API server.
    const refusal = await podGate?.judge(live, address);
    if (refusal !== undefined) return wrongPod(refusal);
    this.#unverifiedSessions = true;
    const opened = sessions.open(key, 'token', live, 'unverified', traceOf(waiter));
    if (opened.kind === 'fetch' && !opened.joined) {
      void opened.fetch.landed.then((landed) => landed.ok && keyRing.learnIssuer(pod.issuer));
    }
    return await this.#await(opened, live, address, waiter);
  }

  async #await(
    opened: SessionLookup,
    live: { readonly token: string; readonly pod: PodIdentity },
    address: string,
    waiter: Waiter,
  ): Promise<Answer | undefined> {
    switch (opened.kind) {
      case 'credentials':
        return this.#give(opened.credentials, live.pod, address, opened.stale ? 'stale' : 'hit');
      case 'refused':
        return this.#failed(opened.failure);
      case 'later':
        waiter.last = () => opened.failure;
        await this.#pause(opened.wait);
        return undefined;
      case 'fetch': {
        const { fetch, joined } = opened;
        waiter.last = () => fetch.flight.lastFailure;
        const landed: FetchOutcome = await fetch.landed;
        if (landed.ok) {
          // Who has hung up or was sent away was handed nothing.
          if (waiter.over) return undefined;
          return this.#give(landed.credentials, live.pod, address, joined ? 'joined' : 'miss');
        }
        const own = landed.live === undefined || landed.live.token === live.token;
        if (landed.failure.kind === 'superseded') return undefined;
        // Its time ran out in the queue: it goes on from its place for whoever still waits.
        if (fetch.flight.place !== undefined) return undefined;
        // What another pod's token drew says nothing about this one's.
        if (!own && ['refused', 'token'].includes(landed.failure.kind)) return undefined;
        return this.#failed(landed.failure);
      }
    }
  }

  #give(
    credentials: ServedCredentials,
    pod: PodIdentity,
    address: string,
    outcome: Outcome,
  ): Answer {
    credentials.usage.served += 1;
    this.#audit(credentials, pod, address);
    return { kind: 'credentials', body: credentials.body, outcome };
  }

  #failed(failure: FetchFailure): Answer {
    return { kind: 'failed', failure, retryAfter: this.#retryAfter(failure) };
  }

  /** When a client does well to try again: when its turn may have come. */
  #retryAfter(failure?: FetchFailure): DurationMs {
    const wait = Math.max(this.#options.queue.expectedWait, failure?.retryAfterMs ?? 0);
    return Math.max(MIN_RETRY_AFTER, wait);
  }

  /** One line when a pod is first handed credentials: leads from CloudTrail back to the pod. */
  #audit(credentials: ServedCredentials, pod: PodIdentity, address: string): void {
    const { first, saved } = recordServed(credentials, pod);
    if (saved) this.#options.onCallSaved();
    if (!first) return;
    this.#auditLog.info(
      {
        pod: pod.pod,
        podUid: pod.podUid,
        namespace: pod.namespace,
        serviceAccount: pod.serviceAccount,
        address,
        assumedRole: credentials.assumedRoleArn,
        accessKeyId: credentials.accessKeyId,
      },
      'credentials handed to pod',
    );
  }

  /** Waits for a while, or until a fetch of keys has ended. */
  #pauseForKeys(wait: DurationMs): Promise<void> {
    const { clock, keyRing } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.setTimeout(resolve, wait);
    const takeBack = keyRing.onceFetched(resolve);
    return promise.finally(() => {
      clock.clearTimeout(timer);
      takeBack();
    });
  }

  #pause(wait: DurationMs): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#options.clock.setTimeout(resolve, wait).unref();
    return promise;
  }
}

/** The trace of a request that still waits: one that was answered has ended. */
function traceOf({ over, trace }: Waiter): RequestTrace | undefined {
  return over ? undefined : trace;
}

function wrongPod(refusal: PodRefusal): Answer {
  return { kind: 'wrong-pod', reason: REASONS[refusal] };
}

const UNVERIFIED_WAITS: FetchFailure = {
  kind: 'waiting',
  code: 'TokenNotVerified',
  message: 'the token cannot be verified on this node yet, and calls for such tokens are limited',
};
