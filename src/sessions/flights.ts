import type { Clock, DurationMs, MonotonicMs } from '../clock.ts';
import type { RoleCredentials } from '../eks-auth/assume-role.ts';
import type { Claim, KeptCredentials, SessionStore } from '../session-store/session-store.ts';
import type { Log } from '../telemetry/log.ts';
import type { FetchTrace } from '../telemetry/tracing.ts';
import type { AssumeRoleOutcome } from '../workers/assume-role.ts';
import { mismatchOf } from './answer-check.ts';
import type { CallResult } from './call-pace.ts';
import {
  type CallPriority,
  type CallQueue,
  QueueFullError,
  TurnExpiredError,
  type TurnLimits,
} from './call-queue.ts';
import { CallResults } from './call-results.ts';
import { type FetchFailure, isTransient } from './failure.ts';
import { Flight, type FlightResult } from './flight.ts';
import { OvertakenCalls } from './overtaken-calls.ts';
import type { LiveToken } from './recent-tokens.ts';
import type { Session } from './session.ts';
import { UnansweredCalls } from './unanswered-calls.ts';

/** What {@link Flights} is made from. */
export interface FlightOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly queue: CallQueue;
  /** Calls EKS Auth once. */
  readonly assumeRole: (token: string) => Promise<AssumeRoleOutcome>;
  /** What calls wait for that have not reached EKS Auth yet, if anything. Default: nothing. */
  readonly obstacle?: (() => FetchFailure | undefined) | undefined;
  /** The audience that an answer must be for. */
  readonly audience: string;
  /** Time for a fetch with all its attempts. */
  readonly flightTimeout: DurationMs;
  /** Returns a number from 0 to 1. */
  readonly random: () => number;
  /** Called after each call; `failure` is undefined if credentials were granted. */
  readonly onCall: (failure: FetchFailure | undefined, duration: DurationMs) => void;
  /** Called when a fetch throws what it should not; it has been logged. */
  readonly onUnexpected: () => void;
  /** Keeps sessions, and coordinates fetches with other brokers. Default: none. */
  readonly store?: SessionStore | undefined;
}

/** Options of {@link Flights.start}. */
export interface FlightStart {
  readonly priority: CallPriority;
  /** Whether it renews credentials that the session still holds. */
  readonly renewal: boolean;
  /** Rank among calls of the same priority. Default: behind all of them. */
  readonly rank?: number | undefined;
  /** Its span, if traces are collected. */
  readonly trace?: FetchTrace | undefined;
}

/** One attempt of a flight. */
interface Attempt {
  readonly live: LiveToken;
  /** 1 for the first. */
  readonly number: number;
  readonly trace: FetchTrace | undefined;
  /** Earlier calls of the flight with the same token that were overtaken. */
  readonly overtaken: OvertakenCalls;
}

/** The first pause between attempts; doubled with each attempt. */
const INITIAL_BACKOFF: DurationMs = 100;
const MAX_BACKOFF: DurationMs = 2_000;
/** How often at most the log reports that the node's credentials are rejected. */
const NODE_CREDENTIALS_INTERVAL: DurationMs = 60_000;
/** The code of a call whose turn did not come; the next one keeps its rank. */
const NOT_CALLED = 'NotCalled';

/**
 * Fetches sessions from EKS Auth. A flight belongs to its session, and goes on if the client that
 * started it disconnects. It retries transient errors, and if a token is rejected it tries the
 * session's next one.
 */
export class Flights {
  readonly #options: FlightOptions;
  readonly #unanswered: UnansweredCalls;
  readonly #results = new CallResults();
  #nodeCredentialsReportedAt: MonotonicMs = Number.NEGATIVE_INFINITY;

  constructor(options: FlightOptions) {
    this.#options = options;
    this.#unanswered = new UnansweredCalls(options.clock);
  }

  /** How long a fetch that starts now would wait for its turn. */
  get expectedWait(): DurationMs {
    return this.#options.queue.expectedWait;
  }

  /**
   * Starts a fetch.
   *
   * @param session - Its tokens are used if `first` is rejected.
   * @param first - The token to start with.
   */
  start(session: Session, first: LiveToken, how: FlightStart): Flight {
    const { priority, rank, renewal, trace } = how;
    const turn = this.#options.queue.turn(priority, rank);
    const obstacle = this.#options.obstacle ?? (() => undefined);
    return new Flight(turn, { renewal, trace, obstacle }, async (flight) => {
      const result = await this.#fly(session, first, flight, rank).catch(this.#unexpected);
      trace?.end(result.ok ? result.role : result.failure);
      return result;
    });
  }

  /** A defect: the session has to get over it, or nobody would fetch it any more. */
  readonly #unexpected = (error: unknown): FlightResult => {
    const { log, onUnexpected } = this.#options;
    log.error({ err: error }, 'a fetch failed in a way that it should not');
    onUnexpected();
    return { ok: false, failure: UNEXPECTED, live: undefined };
  };

  /** A request waits for a fetch in progress, which is now treated as one made for a request. */
  join(flight: Flight, priority: CallPriority): void {
    flight.hasWaiters = true;
    this.#options.queue.promote(flight.turn, priority);
  }

  async #fly(
    session: Session,
    first: LiveToken,
    flight: Flight,
    rank: number | undefined,
  ): Promise<FlightResult> {
    const { clock, queue, flightTimeout, store } = this.#options;
    session.fetchVersion = store?.version;
    const deadline = clock.elapsed() + flightTimeout;
    const rejected = new Set<string>();
    let live: LiveToken | undefined = first;
    let overtaken = new OvertakenCalls();
    let pause = 0;
    let rejectedAt: MonotonicMs | undefined;
    for (let number = 1; ; number += 1) {
      const claim = await this.#claim(session, flight, deadline);
      if (claim?.kind === 'kept') {
        flight.trace?.fromStore();
        return { ok: true, role: claim.kept.role, live, kept: claim.kept, fromStore: true };
      }
      if (claim?.kind === 'elsewhere') return { ok: false, failure: ELSEWHERE, live: undefined };
      if (claim !== undefined) session.fetchVersion = claim.version;
      const attempt: Attempt = { live, number, trace: flight.trace, overtaken };
      const notBefore = clock.elapsed() + pause;
      const limits = { notBefore, rejectedAt, deadline };
      const outcome = await this.#attempt(session, attempt, flight, limits).catch((error) => {
        claim?.release();
        throw error;
      });
      if (!('kind' in outcome)) {
        return { ok: true, role: outcome, live, kept: this.#keep(session, outcome, claim) };
      }
      claim?.release();
      if (outcome.kind !== 'waiting') flight.lastFailure = outcome;
      flight.place = keepsPlace(outcome) ? flight.turn.rank : undefined;
      const failure = outcome.kind === 'waiting' ? reasonFor(outcome, flight) : outcome;
      if (outcome.kind === 'token') {
        rejected.add(live.token);
        session.tokens.remove(live.token);
        const next = session.tokens.live(clock.now()).find(({ token }) => !rejected.has(token));
        if (next === undefined) return { ok: false, failure, live };
        live = next;
        overtaken = new OvertakenCalls();
        pause = 0;
        rejectedAt = undefined;
        continue;
      }
      pause = this.#pause(number, outcome);
      rejectedAt = outcome.kind === 'node-credentials' ? clock.elapsed() : undefined;
      const over =
        clock.elapsed() + pause >= deadline ||
        // The session is still served, so its renewal is retried by a later flight.
        (!flight.hasWaiters && outcome.kind !== 'throttled');
      if (session.ended || !isTransient(outcome) || over) return { ok: false, failure, live };
      flight.trace?.backOff(pause, outcome.code);
      // A throttled call keeps its place; after a failure the other calls go first. Renewals
      // are ranked by expiry, which stays the same.
      if (flight.place === undefined) {
        flight.turn = queue.turn(flight.turn.priority, flight.renewal ? rank : undefined);
      }
    }
  }

  /** Asks the store whether a call is needed, and whether this broker should make it. */
  async #claim(
    session: Session,
    { turn: { priority } }: Flight,
    deadline: MonotonicMs,
  ): Promise<Claim | undefined> {
    const { store, clock } = this.#options;
    // Sessions of unverified tokens are not stored.
    if (store === undefined || priority === 'unverified' || !session.proven) return undefined;
    return await store.claim(session, {
      newerThan: session.credentials?.fetchedAt ?? 0,
      patience: Math.max(0, deadline - clock.elapsed()),
      signal: session.signal,
    });
  }

  #keep(
    session: Session,
    role: RoleCredentials,
    claim: Extract<Claim, { kind: 'call' }> | undefined,
  ): KeptCredentials {
    const { store, clock } = this.#options;
    const kept = { role, fetchedAt: clock.now(), version: session.fetchVersion ?? 0 };
    if (claim === undefined) return kept;
    const before = session.credentials?.assumedRoleArn;
    // Sessions of one role differ only in their session names.
    const roleChanged = before !== undefined && roleOf(before) !== roleOf(role.assumedRoleArn);
    if (session.ended) claim.release();
    else store?.keep(session, kept, roleChanged);
    return kept;
  }

  #pause(attempt: number, { kind, retryAfterMs, credentialsReplaced }: FetchFailure): DurationMs {
    if (credentialsReplaced === true) return 0;
    // After a throttle the queue slows calls down.
    if (kind === 'throttled') return Math.min(retryAfterMs ?? 0, MAX_BACKOFF);
    const longest = Math.min(MAX_BACKOFF, INITIAL_BACKOFF * 2 ** (attempt - 1));
    return longest * (0.5 + this.#options.random() / 2);
  }

  /** Makes a call when its turn comes, again if it is overtaken, and checks the answer. */
  async #attempt(
    session: Session,
    attempt: Attempt,
    flight: Flight,
    limits: TurnLimits,
  ): Promise<RoleCredentials | FetchFailure> {
    const { queue, clock } = this.#options;
    const { overtaken } = attempt;
    for (;;) {
      const late = overtaken.take();
      if (late !== undefined) return this.#late(session, attempt, late);
      const signal = AbortSignal.any([session.signal, overtaken.signal]);
      try {
        const outcome = await queue.run(flight.turn, { ...limits, signal }, () =>
          this.#call(session, attempt),
        );
        if (outcome !== undefined) return outcome;
        const failure = this.#whyUnanswered();
        if (session.ended || clock.elapsed() >= limits.deadline) return failure;
        flight.lastFailure = failure;
      } catch (error) {
        const full = error instanceof QueueFullError;
        if (!full && !(error instanceof TurnExpiredError)) throw error;
        if (overtaken.signal.aborted) continue;
        return {
          kind: 'waiting',
          code: full ? 'QueueFull' : queue.stopped ? 'Stopping' : NOT_CALLED,
          message: `EKS Auth was not called: ${error.message}`,
        };
      }
    }
  }

  /** Makes a call. Its value is undefined if it is overtaken. */
  async #call(
    session: Session,
    { live, number, trace, overtaken }: Attempt,
  ): Promise<{
    value: RoleCredentials | FetchFailure | undefined;
    result: CallResult | undefined;
  }> {
    const { clock, assumeRole, queue, onCall } = this.#options;
    const started = clock.elapsed();
    const unanswered = this.#unanswered.begin();
    const answer = assumeRole(live.token);
    // Undefined: this call is overtaken.
    const outcome = await Promise.race([
      answer,
      overtaken.answer,
      unanswered.overtaken.then(() => undefined),
    ]).catch((error) => {
      unanswered.end(false);
      throw error;
    });
    if (outcome === undefined) overtaken.add(answer, unanswered);
    const value = outcome && this.#checked(session, outcome);
    const result = value && this.#results.of(session, value);
    // The answer to an earlier call says nothing about this one.
    const isLate = outcome !== undefined && outcome === overtaken.answered;
    if (isLate) {
      overtaken.take();
      if (result !== undefined) queue.answeredLate(result);
    }
    unanswered.end(!isLate && (result === 'answered' || result === 'throttled'));
    const told = value ?? this.#whyUnanswered();
    trace?.attempt(number, { ...told, times: outcome?.times, server: outcome?.server });
    if ('kind' in told && told.kind === 'node-credentials') this.#reportNodeCredentials(told);
    onCall('kind' in told ? told : undefined, clock.elapsed() - started);
    return { value, result: isLate ? undefined : result };
  }

  /** Checks a late answer to an overtaken call, which was counted when it was overtaken. */
  #late(
    session: Session,
    { number, trace }: Attempt,
    outcome: AssumeRoleOutcome,
  ): RoleCredentials | FetchFailure {
    const value = this.#checked(session, outcome);
    const result = this.#results.of(session, value);
    if (result !== undefined) this.#options.queue.answeredLate(result);
    trace?.attempt(number, { ...value, times: outcome.times, server: outcome.server });
    return value;
  }

  /** Why a call is made again that has no answer. */
  #whyUnanswered(): FetchFailure {
    return this.#options.obstacle?.() ?? UNANSWERED;
  }

  #checked(session: Session, outcome: AssumeRoleOutcome): RoleCredentials | FetchFailure {
    if (!outcome.ok) return outcome.failure;
    const { audience, clock, log } = this.#options;
    const mismatch = mismatchOf(outcome.role, session, audience, clock.now());
    if (mismatch === undefined) return outcome.role;
    log.error(mismatch.fields, `${mismatch.failure.message}; not served`);
    return mismatch.failure;
  }

  /** The node's own credentials are rejected: tells the operator, the only one who can help. */
  #reportNodeCredentials(failure: FetchFailure): void {
    const { code, message, clockSkew, credentialsReplaced } = failure;
    // The next call has another time, or other credentials.
    if (clockSkew === true || credentialsReplaced === true) return;
    const now = this.#options.clock.elapsed();
    if (now - this.#nodeCredentialsReportedAt < NODE_CREDENTIALS_INTERVAL) return;
    this.#nodeCredentialsReportedAt = now;
    this.#options.log.error(
      { code, reason: message },
      "this node's AWS credentials do not serve to call EKS Auth; sessions are kept",
    );
  }
}

/** `arn:<partition>:sts::<account>:assumed-role/<role>/<session name>` without the session name. */
function roleOf(assumedRoleArn: string): string {
  return assumedRoleArn.slice(0, assumedRoleArn.lastIndexOf('/'));
}

const ELSEWHERE: FetchFailure = {
  kind: 'waiting',
  code: 'FetchedElsewhere',
  message: 'another node of the cluster asks EKS Auth, and has no answer yet',
};

const UNEXPECTED: FetchFailure = {
  kind: 'service',
  code: 'InternalError',
  message: 'the fetch failed because of a defect of the broker; its log has more',
};

const UNANSWERED: FetchFailure = {
  kind: 'network',
  code: 'Unanswered',
  message: 'EKS Auth has not answered within 6 s',
};

/**
 * Why a flight whose turn did not come has no credentials: the failure of its latest call, unless
 * that was about an earlier token of the session and says nothing about this one.
 */
function reasonFor(waiting: FetchFailure, { lastFailure }: Flight): FetchFailure {
  return lastFailure !== undefined && isTransient(lastFailure) ? lastFailure : waiting;
}

/** Whether an attempt ended for want of a turn, so that the next one keeps the rank. */
function keepsPlace({ kind, code }: FetchFailure): boolean {
  return kind === 'throttled' || (kind === 'waiting' && code === NOT_CALLED);
}
