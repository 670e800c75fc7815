import type { Clock, DurationMs, Timer } from '../clock.ts';
import type { CallPace, CallResult } from './call-pace.ts';
import { TokenBucket } from './token-bucket.ts';

/** What waits for what: pods that have nothing yet, sessions to renew, tokens without proof. */
export type CallPriority = 'foreground' | 'renewal' | 'unverified';

const ORDER: readonly CallPriority[] = ['foreground', 'renewal', 'unverified'];

/** Calls under way at once; more would only make each other slow. */
const MOST_UNDER_WAY = 256;
/** Calls waiting at once; beyond it a call is refused at once, so that memory is bounded. */
const MOST_WAITING = 20_000;

/** A place in the queue, kept over the attempts of one flight. */
export interface Turn {
  readonly priority: CallPriority;
  /** Lower goes first within a priority: for renewals the expiry, else the order of arrival. */
  readonly rank: number;
}

/** A call that was not made: its time ran out, or its session ended, before its turn came. */
export class TurnExpiredError extends Error {
  override readonly name = 'TurnExpiredError';
}

/** A call that was not made, because too many wait for their turn already. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
}

interface Waiting {
  readonly turn: Turn;
  readonly notBefore: DurationMs;
  readonly start: () => void;
}

/**
 * The one door through which calls to EKS Auth leave, for all worker threads: in order of
 * priority, then of rank; at the learned pace; renewals within a budget of their own.
 */
export class CallQueue {
  readonly #clock: Clock;
  readonly #pace: CallPace;
  readonly #renewals: TokenBucket;
  readonly #waiting: Record<CallPriority, Waiting[]> = {
    foreground: [],
    renewal: [],
    unverified: [],
  };
  #underWay = 0;
  #arrivals = 0;
  #timer: Timer | undefined;

  /**
   * @param renewalQps - Renewals a second.
   */
  constructor(clock: Clock, pace: CallPace, renewalQps: number) {
    this.#clock = clock;
    this.#pace = pace;
    this.#renewals = new TokenBucket(clock, renewalQps, Math.max(1, renewalQps));
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
    const { foreground, renewal, unverified } = this.#waiting;
    return {
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

  /** How long a call that joined the foreground now would wait for its turn, in milliseconds. */
  get expectedWait(): number {
    const now = this.#clock.elapsed();
    const first = Math.max(0, this.#pace.earliest - now);
    const ahead = this.#waiting.foreground.length;
    return ahead === 0 ? first : first + (ahead * 1_000) / this.#pace.rate;
  }

  /**
   * Makes a call when its turn has come.
   *
   * @param turn - Its place; the same for a call that is tried again after a throttle.
   * @param notBefore - Earliest start, for a call that backs off.
   * @param deadline - When the caller gives up waiting for the turn.
   * @param call - Makes the call, and says with its value how it ended.
   * @param signal - Takes it out of the queue; a call that was begun goes on.
   * @throws TurnExpiredError when the deadline passes or the signal comes first; QueueFullError.
   */
  async run<T>(
    turn: Turn,
    notBefore: DurationMs,
    deadline: DurationMs,
    call: () => Promise<{ readonly result: CallResult; readonly value: T }>,
    signal?: AbortSignal,
  ): Promise<T> {
    await this.#wait(turn, notBefore, deadline, signal);
    try {
      const { result, value } = await call();
      this.#pace.ended(result);
      return value;
    } catch (error) {
      this.#pace.ended('failed');
      throw error;
    } finally {
      this.#underWay -= 1;
      this.#advance();
    }
  }

  /** Lets nobody start any more. */
  stop(): void {
    this.#clock.clearTimeout(this.#timer);
    for (const priority of ORDER) this.#waiting[priority].length = 0;
  }

  /** Resolves when the call may start; it counts as under way from then on. */
  #wait(
    turn: Turn,
    notBefore: DurationMs,
    deadline: DurationMs,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (signal?.aborted) return Promise.reject(new TurnExpiredError('its session has ended'));
    if (this.waiting >= MOST_WAITING) {
      return Promise.reject(new QueueFullError('too many calls wait for their turn'));
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const queue = this.#waiting[turn.priority];
    const waiting: Waiting = { turn, notBefore, start: resolve };
    const behind = queue.findLastIndex((other) => other.turn.rank <= turn.rank);
    queue.splice(behind + 1, 0, waiting);
    const leave = (reason: string) => {
      const place = queue.indexOf(waiting);
      if (place < 0) return;
      queue.splice(place, 1);
      reject(new TurnExpiredError(reason));
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

  /** Starts whoever may start now, and comes back when the next one may. */
  #advance(): void {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#underWay < MOST_UNDER_WAY) {
      const now = this.#clock.elapsed();
      const next = this.#next(now);
      if (next === undefined) return;
      const at = Math.max(this.#pace.earliest, next.at);
      if (at > now) {
        this.#timer = this.#clock.setTimeout(() => this.#advance(), Math.ceil(at - now));
        return;
      }
      const [first] = this.#waiting[next.priority].splice(next.place, 1);
      if (next.priority === 'renewal') this.#renewals.take();
      this.#underWay += 1;
      this.#pace.started();
      first?.start();
    }
  }

  /** Who is next, and when: the first in order who may start now, else whoever may soonest. */
  #next(now: DurationMs): { priority: CallPriority; place: number; at: DurationMs } | undefined {
    let soonest: { priority: CallPriority; place: number; at: DurationMs } | undefined;
    for (const priority of ORDER) {
      const budget = priority === 'renewal' ? now + this.#renewals.wait : now;
      for (const [place, { notBefore }] of this.#waiting[priority].entries()) {
        const at = Math.max(notBefore, budget);
        if (at <= now) return { priority, place, at };
        if (soonest === undefined || at < soonest.at) soonest = { priority, place, at };
      }
    }
    return soonest;
  }
}
