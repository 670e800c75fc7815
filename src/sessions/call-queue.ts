import type { Clock, DurationMs, MonotonicMs, Timer } from '../clock.ts';
import { TokenBucket } from '../token-bucket.ts';
import type { CallPace, CallResult } from './call-pace.ts';

/**
 * What waits for what: sessions near their end, pods that have nothing yet, sessions to renew,
 * tokens without proof.
 */
export type CallPriority = 'urgent' | 'foreground' | 'renewal' | 'unverified';

const ORDER: readonly CallPriority[] = ['urgent', 'foreground', 'renewal', 'unverified'];

/** Calls under way at once; more would only make each other slow. */
const MAX_UNDER_WAY = 256;
/** Calls waiting at once; beyond it a call is refused at once, so that memory is bounded. */
const MAX_WAITING = 20_000;
/** The longest wait that is told while EKS Auth fails: it may be back at any moment. */
const MAX_FAILING_WAIT: DurationMs = 5_000;

/** Why no call is made any more. */
const STOPPING = 'the broker is stopping';

/** A place in the queue, kept over the attempts of one flight. */
export interface Turn {
  /** Raised by {@link CallQueue.promote} alone. */
  readonly priority: CallPriority;
  /** Lower goes first within a priority: for renewals the expiry, else the order of arrival. */
  readonly rank: number;
}

/** When a call may be made. */
export interface TurnLimits {
  /** Earliest start, for a call that backs off. Default is at once. */
  readonly notBefore?: MonotonicMs | undefined;
  /** When the caller gives up waiting for the turn. */
  readonly deadline: MonotonicMs;
  /** Takes it out of the queue; a call that was begun goes on. Default is none. */
  readonly signal?: AbortSignal | undefined;
}

/** A call that was not made: its deadline, its session's end or the broker's came before its turn. */
export class TurnExpiredError extends Error {
  override readonly name = 'TurnExpiredError';
  readonly code = 'ERR_TURN_EXPIRED';
}

/** A call that was not made, because too many wait for their turn already. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
  readonly code = 'ERR_QUEUE_FULL';
}

interface Waiting {
  readonly turn: Turn;
  readonly notBefore: MonotonicMs;
  readonly start: () => void;
  /** Fails the call with a {@link TurnExpiredError}. */
  readonly expire: (reason: string) => void;
}

/**
 * The one door through which calls to EKS Auth leave, for all worker threads: in order of
 * priority, then of rank; at the learned pace; renewals that can wait within a budget of their own.
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

  /**
   * @param renewalQps - Renewals a second.
   */
  constructor(clock: Clock, pace: CallPace, renewalQps: number) {
    this.#clock = clock;
    this.#pace = pace;
    this.#renewals = new TokenBucket(renewalQps, Math.max(1, renewalQps));
  }

  /** Calls under way. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Calls that wait for their turn. */
  get waiting(): number {
    return ORDER.reduce((sum, priority) => sum + this.#waiting[priority].length, 0);
  }

  /** The same, by priority. */
  waitingByPriority(): Record<CallPriority, number> {
    const { urgent, foreground, renewal, unverified } = this.#waiting;
    return {
      urgent: urgent.length,
      foreground: foreground.length,
      renewal: renewal.length,
      unverified: unverified.length,
    };
  }

  /** A place behind everyone who came before. */
  turn(priority: CallPriority, rank?: number): Turn {
    this.#arrivals += 1;
    return { priority, rank: rank ?? this.#arrivals };
  }

  /** Raises the priority of a place, whether its call waits now or is yet to; never lowers it. */
  promote(turn: Turn, priority: CallPriority): void {
    const before = turn.priority;
    if (ORDER.indexOf(priority) >= ORDER.indexOf(before)) return;
    (turn as { priority: CallPriority }).priority = priority;
    const place = this.#waiting[before].findIndex((waiting) => waiting.turn === turn);
    if (place < 0) return;
    const [waiting] = this.#waiting[before].splice(place, 1) as [Waiting];
    this.#enqueue(waiting);
    this.#advance();
  }

  /**
   * How long a call that joined the foreground now would wait for its turn. While EKS Auth fails
   * that is not known, and said to be a few seconds at most.
   */
  get expectedWait(): DurationMs {
    const now = this.#clock.elapsed();
    const first = Math.max(0, this.#pace.earliest - now);
    const { urgent, foreground } = this.#waiting;
    const ahead = urgent.length + foreground.length;
    const wait = ahead === 0 ? first : first + (ahead * 1_000) / this.#pace.rate;
    return this.#pace.mode === 'failing' ? Math.min(wait, MAX_FAILING_WAIT) : wait;
  }

  /**
   * Makes a call when its turn has come.
   *
   * @param turn - Its place; the same for a call that is tried again after a throttle.
   * @param limits - When it may be made.
   * @param call - Makes the call, and says with its value how it ended; without a `result` it
   *   tells nothing about the service.
   * @throws TurnExpiredError when the deadline passes or the signal comes first; QueueFullError;
   *   what `call` rejects with, which counts as failed.
   */
  async run<T>(
    turn: Turn,
    limits: TurnLimits,
    call: () => Promise<{ readonly result: CallResult | undefined; readonly value: T }>,
  ): Promise<T> {
    await this.#wait(turn, limits);
    try {
      const { result, value } = await call();
      if (result !== undefined) this.#pace.ended(result);
      return value;
    } catch (error) {
      this.#pace.ended('failed');
      throw error;
    } finally {
      this.#underWay -= 1;
      this.#advance();
    }
  }

  /** Starts no more calls: those that wait, and those to come, fail with a TurnExpiredError. */
  stop(): void {
    this.#stopped = true;
    this.#clock.clearTimeout(this.#timer);
    for (const priority of ORDER) {
      for (const { expire } of this.#waiting[priority].splice(0)) expire(STOPPING);
    }
  }

  /** Resolves when the call may start; it counts as under way from then on. */
  #wait(turn: Turn, { notBefore = 0, deadline, signal }: TurnLimits): Promise<void> {
    if (this.#stopped) return Promise.reject(new TurnExpiredError(STOPPING));
    if (signal?.aborted) return Promise.reject(new TurnExpiredError('its session has ended'));
    if (this.waiting >= MAX_WAITING) {
      return Promise.reject(new QueueFullError('too many calls wait for their turn'));
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const expire = (reason: string) => reject(new TurnExpiredError(reason));
    const waiting: Waiting = { turn, notBefore, start: resolve, expire };
    this.#enqueue(waiting);
    const leave = (reason: string) => {
      const queue = this.#waiting[turn.priority];
      const place = queue.indexOf(waiting);
      if (place < 0) return;
      queue.splice(place, 1);
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

  /** Starts whoever may start now, and comes back when the next one may. */
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
      const [first] = this.#waiting[next.priority].splice(next.place, 1);
      if (next.priority === 'renewal') this.#renewals.take(now);
      this.#underWay += 1;
      this.#pace.started();
      first?.start();
    }
  }

  /** Who is next, and when: the first in order who may start now, else whoever may soonest. */
  #next(now: MonotonicMs): { priority: CallPriority; place: number; at: MonotonicMs } | undefined {
    let soonest: { priority: CallPriority; place: number; at: MonotonicMs } | undefined;
    for (const priority of ORDER) {
      const budget = priority === 'renewal' ? now + this.#renewals.wait(now) : now;
      for (const [place, { notBefore }] of this.#waiting[priority].entries()) {
        const at = Math.max(notBefore, budget);
        if (at <= now) return { priority, place, at };
        if (soonest === undefined || at < soonest.at) soonest = { priority, place, at };
      }
    }
    return soonest;
  }
}
