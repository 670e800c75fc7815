import type { Clock, DurationMs, MonotonicMs } from '../clock.ts';
import type { RoleCredentials } from '../eks-auth/assume-role.ts';
import type { Claim, KeptCredentials, SessionStore } from '../session-store/session-store.ts';
import type { Log } from '../telemetry/log.ts';
import type { FetchTrace } from '../telemetry/tracing.ts';
import type { AssumeRoleOutcome } from '../workers/assume-role.ts';
import type { CallResult } from './call-pace.ts';
import {
  type CallPriority,
  type CallQueue,
  QueueFullError,
  type Turn,
  TurnExpiredError,
} from './call-queue.ts';
import { type FetchFailure, isTransient } from './failure.ts';
import { OvertakenCalls } from './overtaken-calls.ts';
import type { LiveToken } from './recent-tokens.ts';
import { MIN_TIME_LEFT } from './served-credentials.ts';
import type { Session } from './session.ts';
import { UnansweredCalls } from './unanswered-calls.ts';

/** How a fetch ended. `live` is the token that drew the answer. */
export type FlightResult =
  | {
      readonly ok: true;
      readonly role: RoleCredentials;
      readonly live: LiveToken;
      /** As a store keeps them, where there is one. */
      readonly kept?: KeptCredentials | undefined;
      /** No call was made: they came from the store. */
      readonly fromStore?: boolean;
    }
  | { readonly ok: false; readonly failure: FetchFailure; readonly live: LiveToken | undefined };

/** One fetch of a session, on its way; whoever wants the session waits on it. */
export class Flight {
  /** It renews what the session holds. */
  readonly renewal: boolean;
  /** Its span, where traces are collected. */
  readonly trace: FetchTrace | undefined;
  /** Never rejects. */
  readonly result: Promise<FlightResult>;
  /** Why the latest attempt failed, for those whose wait ends before the flight does. */
  lastFailure: FetchFailure | undefined;
  /** The place in the queue that it had when its time ran out there. */
  place: number | undefined;
  /** Its place in the queue, as long as it keeps it. */
  turn: Turn;
  /** A pod waits for it. */
  awaited: boolean;

  /**
   * @param fly - Makes the fetch; called before the constructor returns.
   */
  constructor(
    turn: Turn,
    { renewal, trace }: Pick<Flight, 'renewal' | 'trace'>,
    fly: (flight: Flight) => Promise<FlightResult>,
  ) {
    this.turn = turn;
    this.renewal = renewal;
    this.awaited = !renewal;
    this.trace = trace;
    this.result = fly(this);
  }
}

/** What {@link Flights} is made from. */
export interface FlightOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly queue: CallQueue;
  /** Calls EKS Auth once. */
  readonly assumeRole: (token: string) => Promise<AssumeRoleOutcome>;
  /** The audience that an answer must be for. */
  readonly audience: string;
  /** Time for a fetch with all its attempts. */
  readonly flightTimeout: DurationMs;
  /** A number from 0 to 1. */
  readonly random: () => number;
  /** Called after each call with how it ended. */
  readonly onCall: (failure: FetchFailure | undefined, duration: DurationMs) => void;
  /** Keeps sessions over a restart, and knows who else fetches them. Default is none. */
  readonly store?: SessionStore | undefined;
}

/** How a flight is made. */
export interface FlightStart {
  readonly priority: CallPriority;
  /** It renews what the session holds. */
  readonly renewal: boolean;
  /** Place among calls of the same priority. Default is behind all of them. */
  readonly rank?: number | undefined;
  /** Its span, where traces are collected. */
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

/** The first pause between attempts; doubled with each. */
const INITIAL_BACKOFF: DurationMs = 100;
const MAX_BACKOFF: DurationMs = 2_000;
/** How often the log says that EKS Auth is not called for want of the node's credentials. */
const NODE_TROUBLE_INTERVAL: DurationMs = 60_000;
/** The code of a call that found the queue full, and so had no place in it. */
const QUEUE_FULL = 'QueueFull';

/**
 * Fetches sessions from EKS Auth. A flight belongs to its session: it goes on when the
 * client that started it has hung up, tries again what may pass, and goes from a spent token
 * to the session's next.
 */
export class Flights {
  readonly #options: FlightOptions;
  readonly #unanswered: UnansweredCalls;
  /** Sessions that wrong answers were given for, with no right one for any since. */
  readonly #mismatched = new Set<string>();
  #nodeTroubleAt: MonotonicMs = Number.NEGATIVE_INFINITY;

  constructor(options: FlightOptions) {
    this.#options = options;
    this.#unanswered = new UnansweredCalls(options.clock);
  }

  /** How long a fetch that began now would wait for its turn. */
  get expectedWait(): DurationMs {
    return this.#options.queue.expectedWait;
  }

  /**
   * Starts a fetch.
   *
   * @param session - Whose tokens are used after `first`.
   * @param first - The token to begin with.
   */
  start(session: Session, first: LiveToken, how: FlightStart): Flight {
    const { priority, rank, renewal, trace } = how;
    const turn = this.#options.queue.turn(priority, rank);
    return new Flight(turn, { renewal, trace }, async (flight) => {
      const result = await this.#fly(session, first, flight, rank);
      trace?.end(result.ok ? result.role : result.failure);
      return result;
    });
  }

  /** A pod waits for a fetch that is under way: it goes on as one that was begun for the pod. */
  join(flight: Flight, priority: CallPriority): void {
    flight.awaited = true;
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
    const spent = new Set<string>();
    let live: LiveToken | undefined = first;
    let overtaken = new OvertakenCalls();
    let pause = 0;
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
      const outcome = await this.#attempt(session, attempt, flight, { notBefore, deadline });
      if (!('kind' in outcome)) {
        return { ok: true, role: outcome, live, kept: this.#keep(session, outcome, claim) };
      }
      claim?.release();
      if (outcome.kind !== 'waiting') flight.lastFailure = outcome;
      flight.place = keepsPlace(outcome) ? flight.turn.rank : undefined;
      const failure = outcome.kind === 'waiting' ? reasonFor(outcome, flight) : outcome;
      if (outcome.kind === 'token') {
        spent.add(live.token);
        session.tokens.remove(live.token);
        const next = session.tokens.live(clock.now()).find(({ token }) => !spent.has(token));
        if (next === undefined) return { ok: false, failure, live };
        live = next;
        overtaken = new OvertakenCalls();
        pause = 0;
        continue;
      }
      pause = this.#pause(number, outcome);
      const over =
        clock.elapsed() + pause >= deadline ||
        // A session that is still served can wait longer than a flight lasts.
        (!flight.awaited && outcome.kind !== 'throttled');
      if (session.ended || !isTransient(outcome) || over) return { ok: false, failure, live };
      flight.trace?.backOff(pause, outcome.code);
      // A throttled call keeps its place; after a failure the other calls go first. Renewals
      // are ranked by expiry, which stays the same.
      if (flight.place === undefined) {
        flight.turn = queue.turn(flight.turn.priority, flight.renewal ? rank : undefined);
      }
    }
  }

  /** Asks the store, where there is one, whether a call is needed and whose it is. */
  async #claim(
    session: Session,
    { turn: { priority } }: Flight,
    deadline: MonotonicMs,
  ): Promise<Claim | undefined> {
    const { store, clock } = this.#options;
    // What nobody has proven is not kept anywhere.
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
    // Sessions of one role differ in their names, which come after it.
    const roleChanged = before !== undefined && roleOf(before) !== roleOf(role.assumedRoleArn);
    if (session.ended) claim.release();
    else store?.keep(session, kept, roleChanged);
    return kept;
  }

  #pause(attempt: number, { kind, retryAfterMs }: FetchFailure): DurationMs {
    // After a throttle it is the queue that paces.
    if (kind === 'throttled') return Math.min(retryAfterMs ?? 0, MAX_BACKOFF);
    const longest = Math.min(MAX_BACKOFF, INITIAL_BACKOFF * 2 ** (attempt - 1));
    return longest * (0.5 + this.#options.random() / 2);
  }

  /** One call when its turn comes, and another where that is lost; the outcome checked. */
  async #attempt(
    session: Session,
    attempt: Attempt,
    flight: Flight,
    limits: { readonly notBefore: MonotonicMs; readonly deadline: MonotonicMs },
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
        const over = session.ended || clock.elapsed() >= limits.deadline;
        if (outcome !== UNANSWERED || over) return outcome;
        flight.lastFailure = UNANSWERED;
      } catch (error) {
        const full = error instanceof QueueFullError;
        if (!full && !(error instanceof TurnExpiredError)) throw error;
        if (overtaken.signal.aborted) continue;
        return {
          kind: 'waiting',
          code: full ? QUEUE_FULL : 'NotCalled',
          message: `EKS Auth was not called: ${error.message}`,
        };
      }
    }
  }

  async #call(
    session: Session,
    { live, number, trace, overtaken }: Attempt,
  ): Promise<{ value: RoleCredentials | FetchFailure; result: CallResult | undefined }> {
    const { clock, assumeRole, onCall } = this.#options;
    const started = clock.elapsed();
    const unanswered = this.#unanswered.begin();
    const answer = assumeRole(live.token);
    // Undefined: this call is overtaken.
    const outcome = await Promise.race([
      answer,
      overtaken.grant,
      unanswered.overtaken.then(() => undefined),
    ]);
    if (outcome === undefined) overtaken.add(answer, unanswered);
    const value = outcome === undefined ? UNANSWERED : this.#checked(session, outcome);
    const result = this.#resultOf(session, value);
    // The answer to an earlier call says nothing about this one.
    const isLate = outcome !== undefined && outcome === overtaken.granted;
    if (isLate) overtaken.take();
    unanswered.end(!isLate && (result === 'answered' || result === 'throttled'));
    trace?.attempt(number, { ...value, times: outcome?.times, server: outcome?.server });
    if ('kind' in value && value.kind === 'node-credentials') this.#nodeTrouble(value);
    onCall('kind' in value ? value : undefined, clock.elapsed() - started);
    return { value, result };
  }

  /** Credentials from a call that was overtaken; it was counted when it was. */
  #late(
    session: Session,
    { number, trace }: Attempt,
    outcome: AssumeRoleOutcome,
  ): RoleCredentials | FetchFailure {
    const value = this.#checked(session, outcome);
    this.#resultOf(session, value);
    trace?.attempt(number, { ...value, times: outcome.times, server: outcome.server });
    return value;
  }

  #checked(session: Session, outcome: AssumeRoleOutcome): RoleCredentials | FetchFailure {
    if (!outcome.ok) return outcome.failure;
    return this.#mismatch(session, outcome.role) ?? outcome.role;
  }

  /** What the end of a call says about the service; undefined: nothing yet. */
  #resultOf(session: Session, value: RoleCredentials | FetchFailure): CallResult | undefined {
    if (value === UNANSWERED) return undefined;
    if (!('kind' in value)) {
      this.#mismatched.clear();
      return 'answered';
    }
    if (value.kind !== 'mismatch') return callResult(value);
    // A wrong answer for one session is that session's trouble; for several it is the service's.
    this.#mismatched.add(session.key);
    return this.#mismatched.size > 1 ? 'failed' : 'answered';
  }

  /** The node's own credentials do not serve: no pod can help that, the operator has to know. */
  #nodeTrouble({ code, message, clockSkew }: FetchFailure): void {
    const now = this.#options.clock.elapsed();
    // A clock that is off mends itself with the next call.
    if (clockSkew === true || now - this.#nodeTroubleAt < NODE_TROUBLE_INTERVAL) return;
    this.#nodeTroubleAt = now;
    this.#options.log.error(
      { code, reason: message },
      "this node's AWS credentials do not serve to call EKS Auth; sessions are kept",
    );
  }

  /** What is wrong with an answer: it has to be about this session, and of use. */
  #mismatch(session: Session, role: RoleCredentials): FetchFailure | undefined {
    const { audience, clock, log } = this.#options;
    const expected = `${session.namespace}/${session.serviceAccount}`;
    const answered = `${role.subject.namespace}/${role.subject.serviceAccount}`;
    let message: string | undefined;
    if (answered !== expected) message = 'EKS Auth answered for another service account';
    else if (role.audience !== audience) message = 'EKS Auth answered for another audience';
    else if (role.expiresAt <= clock.now() + MIN_TIME_LEFT) {
      message = 'EKS Auth answered credentials that have expired, or are about to';
    }
    if (message === undefined) return undefined;
    log.error(
      {
        expected: { subject: expected, audience },
        answered: { subject: answered, audience: role.audience, expiresAt: role.expiresAt },
        requestId: role.requestId,
      },
      `${message}; not served`,
    );
    return { kind: 'mismatch', code: 'UnexpectedAnswer', message, requestId: role.requestId };
  }
}

/** arn:<partition>:sts::<account>:assumed-role/<role>/<session name>, without the last part. */
function roleOf(assumedRoleArn: string): string {
  return assumedRoleArn.slice(0, assumedRoleArn.lastIndexOf('/'));
}

const ELSEWHERE: FetchFailure = {
  kind: 'waiting',
  code: 'FetchedElsewhere',
  message: 'another node of the cluster asks EKS Auth, and has no answer yet',
};

const UNANSWERED: FetchFailure = {
  kind: 'network',
  code: 'Unanswered',
  message: 'EKS Auth has not answered within 6 s',
};

/**
 * Why a flight has no credentials whose turn did not come: what its latest call failed with. That
 * is not so for a failure that was about an earlier token of the session, and not about this one.
 */
function reasonFor(waiting: FetchFailure, { lastFailure }: Flight): FetchFailure {
  return lastFailure !== undefined && isTransient(lastFailure) ? lastFailure : waiting;
}

/** Whether an attempt came to nothing for want of a turn: the next one has the same place. */
function keepsPlace({ kind, code }: FetchFailure): boolean {
  return kind === 'throttled' || (kind === 'waiting' && code !== QUEUE_FULL);
}

function callResult({ kind, status }: FetchFailure): CallResult {
  switch (kind) {
    // What never reached EKS Auth says nothing about a session, and will not for the next one.
    case 'request':
      return status === undefined ? 'failed' : 'answered';
    case 'throttled':
      return 'throttled';
    case 'service':
    case 'network':
    case 'node-credentials':
    // What cannot be read says nothing about a session, but much about who answers.
    case 'malformed':
      return 'failed';
    // An answer about one session, right or wrong, does not mean that the service is in trouble.
    default:
      return 'answered';
  }
}
