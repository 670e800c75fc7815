import type { Clock, DurationMs } from '../clock.ts';
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
import { type FetchFailure, isPassing } from './failure.ts';
import type { LiveToken } from './recent-tokens.ts';
import type { Session } from './session.ts';

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
export interface Flight {
  readonly priority: CallPriority;
  /** Never rejects. */
  readonly result: Promise<FlightResult>;
  /** Its span, where traces are collected. */
  readonly trace: FetchTrace | undefined;
  /** Why the latest attempt failed, for those whose wait ends before the flight does. */
  lastFailure: FetchFailure | undefined;
  /** The place in the queue that it had when its time ran out there. */
  place: number | undefined;
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

/** One attempt of a flight. */
interface Attempt {
  readonly live: LiveToken;
  /** 1 for the first. */
  readonly number: number;
  readonly trace: FetchTrace | undefined;
}

/** The first pause between attempts; doubled with each. */
const FIRST_PAUSE: DurationMs = 100;
const LONGEST_PAUSE: DurationMs = 2_000;
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
  #nodeTroubleAt: DurationMs = Number.NEGATIVE_INFINITY;

  constructor(options: FlightOptions) {
    this.#options = options;
  }

  /**
   * Starts a fetch.
   *
   * @param session - Whose tokens are used after `first`.
   * @param first - The token to begin with.
   * @param rank - Place among calls of the same priority. Default is behind all of them.
   * @param trace - Its span, where traces are collected.
   */
  start(
    session: Session,
    first: LiveToken,
    priority: CallPriority,
    rank?: number,
    trace?: FetchTrace,
  ): Flight {
    const flight: { -readonly [K in keyof Flight]: Flight[K] } = {
      priority,
      result: Promise.resolve() as never,
      trace,
      lastFailure: undefined,
      place: undefined,
    };
    flight.result = this.#fly(session, first, flight, rank).then((result) => {
      trace?.end(result.ok ? result.role : result.failure);
      return result;
    });
    return flight;
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
    let turn = queue.turn(flight.priority, rank);
    let pause = 0;
    for (let attempt = 1; ; attempt += 1) {
      const claim = await this.#claim(session, flight, deadline);
      if (claim?.kind === 'kept') {
        flight.trace?.fromStore();
        return { ok: true, role: claim.kept.role, live, kept: claim.kept, fromStore: true };
      }
      if (claim?.kind === 'elsewhere') return { ok: false, failure: ELSEWHERE, live: undefined };
      if (claim !== undefined) session.fetchVersion = claim.version;
      const outcome: RoleCredentials | FetchFailure = await this.#attempt(
        session,
        { live, number: attempt, trace: flight.trace },
        turn,
        clock.elapsed() + pause,
        deadline,
      );
      if (!('kind' in outcome)) {
        return { ok: true, role: outcome, live, kept: this.#keep(session, outcome, claim) };
      }
      claim?.release();
      if (outcome.kind !== 'waiting') flight.lastFailure = outcome;
      flight.place = keepsPlace(outcome) ? turn.rank : undefined;
      const failure = outcome.kind === 'waiting' ? (flight.lastFailure ?? outcome) : outcome;
      if (outcome.kind === 'token') {
        spent.add(live.token);
        session.tokens.remove(live.token);
        const next = session.tokens.live(clock.now()).find(({ token }) => !spent.has(token));
        if (next === undefined) return { ok: false, failure, live };
        live = next;
        pause = 0;
        continue;
      }
      pause = this.#pause(attempt, outcome);
      const over =
        clock.elapsed() + pause >= deadline ||
        // A session that is still served can wait longer than a flight lasts.
        (flight.priority === 'renewal' && outcome.kind !== 'throttled');
      if (session.ended || !isPassing(outcome) || over) return { ok: false, failure, live };
      flight.trace?.backOff(pause, outcome.code);
      // Who was throttled keeps its place; who failed lets the others go first.
      if (flight.place === undefined) turn = queue.turn(flight.priority, rank);
    }
  }

  /** Asks the store, where there is one, whether a call is needed and whose it is. */
  async #claim(
    session: Session,
    { priority }: Flight,
    deadline: DurationMs,
  ): Promise<Claim | undefined> {
    const { store, clock } = this.#options;
    // What nobody has proven is not kept anywhere.
    if (store === undefined || priority === 'unverified') return undefined;
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
    if (kind === 'throttled') return Math.min(retryAfterMs ?? 0, LONGEST_PAUSE);
    const longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1));
    return longest * (0.5 + this.#options.random() / 2);
  }

  /** One call, when its turn comes; its outcome checked. */
  async #attempt(
    session: Session,
    attempt: Attempt,
    turn: Turn,
    notBefore: DurationMs,
    deadline: DurationMs,
  ): Promise<RoleCredentials | FetchFailure> {
    const { queue } = this.#options;
    try {
      return await queue.run(
        turn,
        notBefore,
        deadline,
        async () => {
          const value = await this.#call(session, attempt);
          return { value, result: 'kind' in value ? callResult(value) : 'answered' };
        },
        session.signal,
      );
    } catch (error) {
      const full = error instanceof QueueFullError;
      if (!full && !(error instanceof TurnExpiredError)) throw error;
      return {
        kind: 'waiting',
        code: full ? QUEUE_FULL : 'NotCalled',
        message: `EKS Auth was not called: ${error.message}`,
      };
    }
  }

  async #call(
    session: Session,
    { live, number, trace }: Attempt,
  ): Promise<RoleCredentials | FetchFailure> {
    const { clock, assumeRole, onCall } = this.#options;
    const started = clock.elapsed();
    const outcome = await assumeRole(live.token);
    const checked: RoleCredentials | FetchFailure = outcome.ok
      ? (this.#mismatch(session, outcome.role) ?? outcome.role)
      : outcome.failure;
    trace?.attempt(number, { ...checked, times: outcome.times });
    if ('kind' in checked && checked.kind === 'node-credentials') this.#nodeTrouble(checked);
    onCall('kind' in checked ? checked : undefined, clock.elapsed() - started);
    return checked;
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
    else if (role.expiresAt <= clock.now()) message = 'EKS Auth answered expired credentials';
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
