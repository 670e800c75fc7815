import type { Clock, DurationMs, MonotonicMs, Timer } from '../clock.ts';
import { TokenBucket } from '../token-bucket.ts';
import type { CallPace, CallResult, PacedCall } from './call-pace.ts';

/**
 * In this order: sessions near their end, pods without credentials, other renewals, tokens that
 * could not be verified.
 */
export type CallPriority = 'urgent' | 'foreground' | 'renewal' | 'unverified';

const ORDER: readonly CallPriority[] = ['urgent', 'foreground', 'renewal', 'unverified'];

/** Calls in progress at once; more would only slow each other down. */
const MAX_UNDER_WAY = 256;
/** Calls waiting at once; further ones are rejected, so that memory is bounded. */
const MAX_WAITING = 20_000;
/** The longest expected wait while EKS Auth fails: it may recover at any moment. */
const MAX_FAILING_WAIT: DurationMs = 5_000;

/** Why no call is made any more. */
const STOPPING = 'the broker is stopping';

/** A place in the queue. A flight keeps it while it is throttled. */
export interface Turn {
  /** Only {@link CallQueue.promote} changes it. */
  readonly priority: CallPriority;
  /** Lower goes first within a priority. Renewals: when they expire; others: order of arrival. */
  readonly rank: number;
}

/** When a call may be made. */
export interface TurnLimits {
  /** Earliest start, for a call that backs off. Default: at once. */
  readonly notBefore?: MonotonicMs | undefined;
  /**
   * For a call that backs off because of the node's credentials: when it failed. It starts at once
   * if the node has got others since. Default: it backs off for something else.
   */
  readonly rejectedAt?: MonotonicMs | undefined;
  /** The latest start: after it the call fails. */
  readonly deadline: MonotonicMs;
  /** Removes the call from the queue; one that has started goes on. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** A call that was not made: its deadline passed, or its session or the broker ended, first. */
export class TurnExpiredError extends Error {
  override readonly name = 'TurnExpiredError';
  readonly code = 'ERR_TURN_EXPIRED';
}

/** A call that was not made, because too many are waiting already. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
  readonly code = 'ERR_QUEUE_FULL';
}

interface Waiting {
  readonly turn: Turn;
  notBefore: MonotonicMs;
  readonly rejectedAt: MonotonicMs | undefined;
  readonly start: (call: PacedCall) => void;
  /** Fails the call with a {@link TurnExpiredError}. */
  readonly expire: (reason: string) => void;
}

/**
 * The queue for all calls to EKS Auth, whichever worker thread makes them. Calls start by
 * priority, then by rank, at the pace that {@link CallPace} has learned. Renewals that are not
 * urgent have a rate limit of their own.
 */
export class CallQueue {
  readonly #clock: Clock;
  readonly #pace: CallPace;
  readonly #renewals: TokenBucket;
  readonly #waiting: Record<CallPriority, Waiting[]> = {
    urgent: [],
    foreground: [],
    renewal: [],
    unverified: [],
  };
  #underWay = 0;
  #arrivals = 0;
  #timer: Timer | undefined;
  #stopped = false;
  /** When the node got other credentials. */
  #credentialsAt: MonotonicMs = Number.NEGATIVE_INFINITY;

  /**
   * @param renewalQps - Renewals per second, more than 0; urgent ones do not count.
   */
  constructor(clock: Clock, pace: CallPace, renewalQps: number) {
    this.#clock = clock;
    this.#pace = pace;
    this.#renewals = new TokenBucket(renewalQps, Math.max(1, renewalQps));
  }

  /** Whether no more calls are made. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Calls in progress. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Calls waiting for their turn. */
  get waiting(): number {
    return ORDER.reduce((sum, priority) => sum + this.#waiting[priority].length, 0);
  }

  /** {@link waiting} by priority. */
  waitingByPriority(): Record<CallPriority, number> {
    const { urgent, foreground, renewal, unverified } = this.#waiting;
    return {
      urgent: urgent.length,
      foreground: foreground.length,
      renewal: renewal.length,
      unverified: unverified.length,
    };
  }

  /** @param rank - Default: behind all earlier calls of the priority. */
  turn(priority: CallPriority, rank?: number): Turn {
    this.#arrivals += 1;
    return { priority, rank: rank ?? this.#arrivals };
  }

  /** Raises the priority of a turn, in the queue or before it is queued; never lowers it. */
  promote(turn: Turn, priority: CallPriority): void {
    const before = turn.priority;
    if (ORDER.indexOf(priority) >= ORDER.indexOf(before)) return;
    (turn as { priority: CallPriority }).priority = priority;
    const index = this.#waiting[before].findIndex((waiting) => waiting.turn === turn);
    if (index < 0) return;
    const [waiting] = this.#waiting[before].splice(index, 1) as [Waiting];
    this.#enqueue(waiting);
    this.#advance();
  }

  /**
   * How long a foreground call that is queued now would wait for its turn. While EKS Auth fails
   * this cannot be known; then it is 5 s at most. When it recovers, calls wait for answers, and for
   * the operator's limit.
   */
  get expectedWait(): DurationMs {
    const { urgent, foreground } = this.#waiting;
    const ahead = urgent.length + foreground.length;
    if (this.#pace.mode === 'recovering') return (ahead * 1_000) / this.#pace.rate;
    const first = Math.max(0, this.#pace.earliest - this.#clock.elapsed());
    const wait = ahead === 0 ? first : first + (ahead * 1_000) / this.#pace.rate;
    return this.#pace.mode === 'failing' ? Math.min(wait, MAX_FAILING_WAIT) : wait;
  }

  /**
   * Makes a call when its turn has come.
   *
   * @param turn - The same object for a call that is retried after throttling.
   * @param limits - When the call may start.
   * @param call - Makes the call. `result` tells the pace how it ended; undefined: nothing was
   *   learned about the service.
   * @returns The call's `value`.
   * @throws TurnExpiredError if the deadline, the signal or {@link stop} comes first;
   *   QueueFullError; whatever `call` rejects with, which counts as `failed`.
   */
  async run<T>(
    turn: Turn,
    limits: TurnLimits,
    call: () => Promise<{ readonly result: CallResult | undefined; readonly value: T }>,
  ): Promise<T> {
    const paced = await this.#wait(turn, limits);
    let ended: CallResult | undefined = 'failed';
    try {
      const { result, value } = await call();
      ended = result;
      return value;
    } finally {
      this.#pace.ended(ended, paced);
      this.#underWay -= 1;
      this.#advance();
    }
  }

  /** Takes in the answer to a call that was given up, and has ended for {@link run}. */
  answeredLate(result: CallResult): void {
    this.#pace.ended(result);
    this.#advance();
  }

  /**
   * The node has got other credentials: calls that failed for the earlier ones are made again at
   * once. If EKS Auth has not answered any of late, one of them finds out whether it does now.
   */
  credentialsReplaced(): void {
    this.#credentialsAt = this.#clock.elapsed();
    for (const priority of ORDER) {
      for (const waiting of this.#waiting[priority]) {
        if (waiting.rejectedAt !== undefined) waiting.notBefore = this.#credentialsAt;
      }
    }
    this.#pace.allowProbe();
    this.#advance();
  }

  /** Starts no more calls: those that wait, and those to come, fail with a TurnExpiredError. */
  stop(): void {
    this.#stopped = true;
    this.#clock.clearTimeout(this.#timer);
    for (const priority of ORDER) {
      for (const { expire } of this.#waiting[priority].splice(0)) expire(STOPPING);
    }
  }

  /** Resolves when the call may start; from then on it counts as in progress. */
  #wait(turn: Turn, limits: TurnLimits): Promise<PacedCall> {
    const { deadline, signal, rejectedAt } = limits;
    const replaced = rejectedAt !== undefined && rejectedAt < this.#credentialsAt;
    const notBefore = replaced ? 0 : (limits.notBefore ?? 0);
    if (this.#stopped) return Promise.reject(new TurnExpiredError(STOPPING));
    if (signal?.aborted) return Promise.reject(new TurnExpiredError('its session has ended'));
    if (this.waiting >= MAX_WAITING) {
      return Promise.reject(new QueueFullError('too many calls wait for their turn'));
    }
    const { promise, resolve, reject } = Promise.withResolvers<PacedCall>();
    const expire = (reason: string) => reject(new TurnExpiredError(reason));
    const waiting: Waiting = { turn, notBefore, rejectedAt, start: resolve, expire };
    this.#enqueue(waiting);
    const leave = (reason: string) => {
      const queue = this.#waiting[turn.priority];
      const index = queue.indexOf(waiting);
      if (index < 0) return;
      queue.splice(index, 1);
      expire(reason);
    };
    const expiry = this.#clock.setTimeout(
      () => leave('its turn did not come in time'),
      Math.max(0, deadline - this.#clock.elapsed()),
    );
    const ended = () => leave('its session has ended');
    signal?.addEventListener('abort', ended);
    this.#advance();
    return promise.finally(() => {
      this.#clock.clearTimeout(expiry);
      signal?.removeEventListener('abort', ended);
    });
  }

  #enqueue(waiting: Waiting): void {
    const queue = this.#waiting[waiting.turn.priority];
    const behind = queue.findLastIndex(({ turn }) => turn.rank <= waiting.turn.rank);
    queue.splice(behind + 1, 0, waiting);
  }

  /** Starts every call that may start now, and sets a timer for the next one. */
  #advance(): void {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#underWay < MAX_UNDER_WAY) {
      const now = this.#clock.elapsed();
      const next = this.#next(now);
      if (next === undefined) return;
      const at = Math.max(this.#pace.earliest, next.at);
      if (at > now) {
        this.#timer = this.#clock.setTimeout(() => this.#advance(), Math.ceil(at - now));
        return;
      }
      const [first] = this.#waiting[next.priority].splice(next.index, 1);
      if (next.priority === 'renewal') this.#renewals.take(now);
      this.#underWay += 1;
      const paced = this.#pace.started();
      first?.start(paced);
    }
  }

  /** The next call: the first in order that may start now, else the one that may start soonest. */
  #next(now: MonotonicMs): { priority: CallPriority; index: number; at: MonotonicMs } | undefined {
    let soonest: { priority: CallPriority; index: number; at: MonotonicMs } | undefined;
    for (const priority of ORDER) {
      const budget = priority === 'renewal' ? now + this.#renewals.wait(now) : now;
      for (const [index, { notBefore }] of this.#waiting[priority].entries()) {
        const at = Math.max(notBefore, budget);
        if (at <= now) return { priority, index, at };
        if (soonest === undefined || at < soonest.at) soonest = { priority, index, at };
      }
    }
    return soonest;
  }
}
