import type { Clock, DurationMs, MonotonicMs } from '../clock.ts';

/** How a call to EKS Auth ended, as far as it affects the pace of later calls. */
export type CallResult =
  /** EKS Auth answered with credentials or a refusal: the service works. */
  | 'answered'
  /** The account's quota is exhausted. */
  | 'throttled'
  /** No usable answer: unreachable, failing, or the node's own credentials are rejected. */
  | 'failed';

/** What limits the rate of calls to EKS Auth. */
export type PaceMode =
  /** Only the operator's limit: calls succeed, or there was no trouble for two minutes. */
  | 'unlimited'
  /** EKS Auth throttles: about the rate that it accepts. */
  | 'throttled'
  /** No usable answers: a few probes per second at most. */
  | 'failing';

/** Failures in a row after which EKS Auth counts as failing. */
const FAILURES_IN_A_ROW = 3;
/** Calls per second once EKS Auth is failing; halved with each further failure. */
const FAILING_RATE = 4;
/** The lowest rate, in calls per second: recovery is noticed within two seconds. */
const MIN_RATE = 0.5;
/** Calls per second at which a recovering service counts as recovered. */
const RECOVERED_RATE = 64;
/** Fraction of the observed rate that is used after a throttle. */
const BACK_OFF = 0.8;
/** Fraction by which the rate grows per second without a throttle. */
const GROWTH = 0.04;
/**
 * Time without a throttle or a failure after which the limit is lifted. If calls were made, the
 * rate has grown meanwhile; if none were, what was learned is too old to be of use.
 */
const FORGET_AFTER: DurationMs = 120_000;
/** The time over which answers are counted to estimate the quota. */
const WINDOW: DurationMs = 1_000;

/**
 * How fast EKS Auth may be called, learned from how calls end. There is no limit until it
 * throttles or fails. After a throttle the rate is a little less than what was answered, and grows
 * slowly. While EKS Auth fails there are a few probes per second at most; when it recovers, the
 * rate doubles with each answer.
 */
export class CallPace {
  readonly #clock: Clock;
  /** The operator's limit, in calls per second. */
  readonly #ceiling: number;
  #mode: PaceMode = 'unlimited';
  #rate = Number.POSITIVE_INFINITY;
  #failures = 0;
  #answers: MonotonicMs[] = [];
  #changedAt: MonotonicMs = 0;
  /** When the latest throttle or failure was. */
  #troubleAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  #backedOffAt: MonotonicMs = 0;
  #earliest: MonotonicMs = 0;

  /**
   * @param ceiling - Most calls per second. Default: no limit.
   */
  constructor(clock: Clock, ceiling = Number.POSITIVE_INFINITY) {
    this.#clock = clock;
    this.#ceiling = ceiling;
  }

  /** What limits the pace now. */
  get mode(): PaceMode {
    return this.#isOutdated(this.#clock.elapsed()) ? 'unlimited' : this.#mode;
  }

  /** Calls that may start per second now; `Infinity` without a limit. */
  get rate(): number {
    return Math.min(this.#currentRate(this.#clock.elapsed()), this.#ceiling);
  }

  /** When the next call may start; a time in the past means at once. */
  get earliest(): MonotonicMs {
    return this.#earliest;
  }

  /** Records that a call starts now. */
  started(): void {
    const now = this.#clock.elapsed();
    const rate = this.rate;
    this.#earliest =
      rate === Number.POSITIVE_INFINITY ? 0 : Math.max(this.#earliest, now) + 1_000 / rate;
  }

  /** Records how a call has ended. */
  ended(result: CallResult): void {
    const now = this.#clock.elapsed();
    if (this.#mode !== 'unlimited' && this.#isOutdated(now)) this.#lift();
    if (result === 'answered') this.#answered(now);
    else if (result === 'throttled') this.#throttled(now);
    else this.#failed(now);
  }

  #answered(now: MonotonicMs): void {
    this.#failures = 0;
    this.#answers.push(now);
    this.#dropOldAnswers(now);
    if (this.#mode === 'failing') {
      this.#set(now, Math.max(this.#rate, MIN_RATE) * 2);
      this.#earliest = now;
      if (this.#rate >= RECOVERED_RATE) this.#lift();
    } else if (this.#mode === 'throttled') {
      this.#raiseForLateAnswers(now);
    }
  }

  /**
   * A throttled call is answered faster than a granted one: of calls made at the same time, the
   * first throttle arrives before the answers that show what the quota is.
   */
  #raiseForLateAnswers(now: MonotonicMs): void {
    const observed = this.#answers.length * BACK_OFF;
    if (observed <= this.#currentRate(now)) return;
    this.#set(now, observed);
    this.#earliest = Math.min(this.#earliest, now + 1_000 / observed);
  }

  #throttled(now: MonotonicMs): void {
    this.#failures = 0;
    this.#dropOldAnswers(now);
    // Calls made at the same time are throttled together: they count once.
    const again = this.#mode === 'throttled' && now - this.#backedOffAt < WINDOW;
    this.#troubleAt = now;
    if (again) return;
    this.#backedOffAt = now;
    const observed = Math.min(this.#currentRate(now), this.#answers.length);
    this.#mode = 'throttled';
    this.#set(now, Math.max(MIN_RATE, observed * BACK_OFF));
    this.#earliest = Math.max(this.#earliest, now + 1_000 / this.#rate);
  }

  #failed(now: MonotonicMs): void {
    this.#failures = this.#isOutdated(now) ? 1 : this.#failures + 1;
    this.#troubleAt = now;
    if (this.#failures < FAILURES_IN_A_ROW) return;
    const rate = FAILING_RATE / 2 ** Math.min(10, this.#failures - FAILURES_IN_A_ROW);
    this.#mode = 'failing';
    this.#set(now, Math.max(MIN_RATE, rate));
    this.#earliest = Math.max(this.#earliest, now + 1_000 / this.#rate);
  }

  /** Whether the last throttle or failure is so long ago that the limit no longer applies. */
  #isOutdated(now: MonotonicMs): boolean {
    return now - this.#troubleAt > FORGET_AFTER;
  }

  #lift(): void {
    this.#mode = 'unlimited';
    this.#rate = Number.POSITIVE_INFINITY;
    this.#earliest = 0;
  }

  #set(now: MonotonicMs, rate: number): void {
    this.#rate = rate;
    this.#changedAt = now;
  }

  #currentRate(now: MonotonicMs): number {
    if (this.#isOutdated(now)) return Number.POSITIVE_INFINITY;
    if (this.#mode !== 'throttled') return this.#rate;
    return this.#rate * (1 + (GROWTH * Math.max(0, now - this.#changedAt)) / 1_000);
  }

  #dropOldAnswers(now: MonotonicMs): void {
    const first = this.#answers.findIndex((at) => at > now - WINDOW);
    this.#answers = first < 0 ? [] : this.#answers.slice(first);
  }
}
