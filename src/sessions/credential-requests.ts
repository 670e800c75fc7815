import type { Clock, DurationMs } from '../clock.ts';
import type { Identified, Identity } from '../identity/identity.ts';
import type { KeyRing } from '../identity/key-ring.ts';
import type { PodGate } from '../identity/pod-gate.ts';
import { type PodRefusal, REFUSAL_MESSAGES } from '../identity/pod-verdict.ts';
import type { VerifiedToken } from '../identity/verified-tokens.ts';
import { auditLog, type Log } from '../telemetry/log.ts';
import type { RequestTrace } from '../telemetry/tracing.ts';
import type { PodIdentity } from '../tokens/claims.ts';
import type { CallQueue } from './call-queue.ts';
import { type FetchFailure, isOfToken } from './failure.ts';
import type { RoleSessions, Servable, SessionLookup } from './role-sessions.ts';
import { recordServed, type ServedCredentials } from './served-credentials.ts';
import type { FetchOutcome } from './session.ts';
import { type ScopeRules, scopeOf, tokenSessionKey } from './session-key.ts';
import type { UnverifiedBudget } from './unverified-budget.ts';

/** The answer to a request. */
export type Answer =
  /** `body` is the response body; `outcome` says where it came from. */
  | { readonly kind: 'credentials'; readonly body: string; readonly outcome: Outcome }
  /** The token is not valid. */
  | { readonly kind: 'bad-token'; readonly reason: string }
  /** The token is valid, but was not presented by its pod. */
  | { readonly kind: 'wrong-pod'; readonly reason: string }
  /** EKS Auth, or the call to it, has failed. */
  | { readonly kind: 'failed'; readonly failure: FetchFailure; readonly retryAfter: DurationMs }
  /** The client wait has ended; the fetch goes on. `last`: why its latest attempt failed. */
  | {
      readonly kind: 'too-slow';
      readonly last: FetchFailure | undefined;
      readonly retryAfter: DurationMs;
    };

/**
 * `hit`: from a session in memory; `stale`: the same, but its renewal fails; `joined`: from a fetch
 * that was in progress; `miss`: from a fetch that the request started.
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
  /** Checks that a token is presented by its pod, if pods are watched. */
  readonly podGate?: Pick<PodGate, 'admits' | 'judge'> | undefined;
  /** Called when EKS Auth is asked because a token could not be verified. */
  readonly onUnverified: (cause: string) => void;
  /** Called when a token is given credentials that were fetched with another one. */
  readonly onCallSaved: () => void;
}

/** The client, as seen on the network. */
export interface Caller {
  /** The remote address of the socket. */
  readonly address: string;
  /** What the address counts as in {@link UnverifiedBudget}. */
  readonly source: string;
}

/** A request that waits for credentials. */
interface Waiter {
  /** It was answered. */
  done: boolean;
  /** Why it has no credentials yet, if that is known. */
  last: () => FetchFailure | undefined;
  readonly trace: RequestTrace | undefined;
}

/** The shortest `Retry-After`. */
const MIN_RETRY_AFTER: DurationMs = 1_000;

/** Answers requests for credentials: identifies the pod and finds or fetches its session. */
export class CredentialRequests {
  readonly #options: CredentialRequestsOptions;
  readonly #auditLog: Log;
  #unverifiedSessions = false;
  /** The move of what was fetched for unverified tokens, while it is under way. */
  #adoption: Promise<void> | undefined;

  constructor(options: CredentialRequestsOptions) {
    this.#options = options;
    this.#auditLog = auditLog(options.log);
  }

  /**
   * Answers a token that was verified before and whose session is in memory: synchronously, by
   * look-ups only.
   *
   * @param token - As presented.
   * @param caller - The socket; its address is read for the audit line, and if pods are watched.
   * @param trace - The request's trace, if traces are collected.
   * @returns The session whose credentials are the answer; undefined: call {@link obtain}.
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
    if (verified.lastServed !== credentials) {
      verified.lastServed = credentials;
      this.#audit(credentials, verified.pod, caller.remoteAddress ?? '');
    }
    session.usage.served += 1;
    trace?.lookedUp(session.lastFailure === undefined ? 'hit' : 'stale', session);
    return session;
  }

  /** Whether a token is neither verified nor being verified, so that it needs a verification. */
  isNew(token: string): boolean {
    const { identity, clock } = this.#options;
    return identity.recall(token, clock.now()) === undefined && !identity.isJudging(token);
  }

  /** Whether a token was verified by this broker and is still valid. */
  isVerified(token: string): boolean {
    const { identity, clock } = this.#options;
    return identity.recall(token, clock.now()) !== undefined;
  }

  /**
   * Answers any token, after at most `clientWait`. A fetch that has not ended by then goes on, so
   * that the client's next try finds its result.
   *
   * @param token - As presented; not trusted.
   * @param trace - The request's trace, if traces are collected.
   */
  async obtain(token: string, caller: Caller, trace?: RequestTrace): Promise<Answer> {
    const { clock, clientWait } = this.#options;
    const waiter: Waiter = { done: false, last: () => undefined, trace };
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const timer = clock.setTimeout(() => {
      waiter.done = true;
      resolve({ kind: 'too-slow', last: waiter.last(), retryAfter: this.#retryAfter() });
    }, clientWait);
    const work = this.#obtain(token, caller, waiter);
    try {
      return await Promise.race([work, promise]);
    } finally {
      waiter.done = true;
      clock.clearTimeout(timer);
      // The rest of the work goes on; its failure must not end the process.
      work.catch(() => undefined);
    }
  }

  async #obtain(token: string, caller: Caller, waiter: Waiter): Promise<Answer> {
    const { identity } = this.#options;
    for (;;) {
      const startedAt = Date.now();
      const who = await identity.identify(token);
      if (!waiter.done) {
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
      if (waiter.done) return { kind: 'too-slow', last: undefined, retryAfter: MIN_RETRY_AFTER };
    }
  }

  /**
   * To be called when keys have arrived: verifies the tokens of token-scope sessions, and moves
   * their credentials to the sessions of their pods. Requests that come meanwhile wait for it, or
   * they would have fetched anew what is about to be theirs.
   */
  async adoptUnverified(): Promise<void> {
    if (!this.#unverifiedSessions) return;
    const adopting = this.#adoptUnverified();
    const adoption = adopting.catch(() => undefined);
    this.#adoption = adoption;
    try {
      await adopting;
    } finally {
      if (this.#adoption === adoption) this.#adoption = undefined;
    }
  }

  async #adoptUnverified(): Promise<void> {
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

  /** @returns Undefined if the request has to start over. */
  async #verified(
    verified: VerifiedToken,
    address: string,
    waiter: Waiter,
  ): Promise<Answer | undefined> {
    const { sessions, scopeRules, podGate } = this.#options;
    if (this.#adoption !== undefined) await this.#adoption;
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
   * A token that cannot be verified here: EKS Auth decides, within a small budget, and the session
   * belongs to this token only. If keys arrive while the request waits, the token is verified.
   *
   * @returns Undefined if the request has to start over.
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
    const free = sessions.costsNoCall(key, token);
    if (!free) {
      const wait = budget.take(source);
      if (wait > 0) {
        waiter.last = () => UNVERIFIED_LIMITED;
        await this.#pauseForKeys(wait);
        return undefined;
      }
      onUnverified(cause);
    }
    // After the budget: forged tokens must not cause requests to the API server.
    const refusal = await podGate?.judge(live, address);
    if (refusal !== undefined) return wrongPod(refusal);
    // What it would have been given without a call is gone since.
    if (free && !sessions.costsNoCall(key, token)) return undefined;
    this.#unverifiedSessions = true;
    const opened = sessions.open(key, 'token', live, 'unverified', traceOf(waiter));
    if (opened.kind === 'fetch' && !opened.joined) {
      void opened.fetch.settled.then((outcome) => outcome.ok && keyRing.learnIssuer(pod.issuer));
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
        return this.#serve(opened.credentials, live.pod, address, opened.stale ? 'stale' : 'hit');
      case 'refused':
        return this.#failed(opened.failure);
      case 'later':
        waiter.last = () => opened.failure;
        await this.#pause(opened.wait);
        return undefined;
      case 'fetch': {
        const { fetch, joined } = opened;
        waiter.last = () => fetch.flight.reason;
        const outcome: FetchOutcome = await fetch.settled;
        if (outcome.ok) {
          // A client that has disconnected or was answered with 503 gets no credentials.
          if (waiter.done) return undefined;
          return this.#serve(outcome.credentials, live.pod, address, joined ? 'joined' : 'miss');
        }
        const own = outcome.live === undefined || outcome.live.token === live.token;
        if (outcome.failure.kind === 'superseded') return undefined;
        // The fetch timed out in the queue: the next one continues with its rank.
        if (fetch.flight.place !== undefined) return undefined;
        // A refusal of another pod's token does not apply to this one.
        if (!own && isOfToken(outcome.failure)) return undefined;
        return this.#failed(outcome.failure);
      }
    }
  }

  #serve(
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

  /** When the client should retry: when its turn may have come. */
  #retryAfter(failure?: FetchFailure): DurationMs {
    const wait = Math.max(this.#options.queue.expectedWait, failure?.retryAfterMs ?? 0);
    return Math.max(MIN_RETRY_AFTER, wait);
  }

  /** Logs a line when a pod is first given credentials, to find the pod of a CloudTrail event. */
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

  /** Waits until `wait` has passed or a fetch of keys has ended. */
  #pauseForKeys(wait: DurationMs): Promise<void> {
    const { clock, keyRing } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.setTimeout(resolve, wait);
    const removeListener = keyRing.onceFetched(resolve);
    return promise.finally(() => {
      clock.clearTimeout(timer);
      removeListener();
    });
  }

  #pause(wait: DurationMs): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#options.clock.setTimeout(resolve, wait).unref();
    return promise;
  }
}

/** The trace of a request, unless it has been answered: then its trace has ended. */
function traceOf({ done, trace }: Waiter): RequestTrace | undefined {
  return done ? undefined : trace;
}

function wrongPod(refusal: PodRefusal): Answer {
  return { kind: 'wrong-pod', reason: REFUSAL_MESSAGES[refusal] };
}

const UNVERIFIED_LIMITED: FetchFailure = {
  kind: 'waiting',
  code: 'TokenNotVerified',
  message: 'the token cannot be verified on this node yet, and calls for such tokens are limited',
};
