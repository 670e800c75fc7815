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
  | 'failing'
  /** It answers again: few calls in progress at first, twice as many with each round of answers. */
  | 'recovering';

/** A call that has started; {@link CallPace.ended} is told which one has ended. */
export interface PacedCall {
  /** Recoveries that had begun when it started. */
  readonly recovery: number;
}

/** Failures in a row after which EKS Auth counts as failing. */
const FAILURES_IN_A_ROW = 3;
/** Calls per second once EKS Auth is failing; halved with each further failure. */
const FAILING_RATE = 4;
/** The lowest rate, in calls per second: recovery is noticed within two seconds. */
const MIN_RATE = 0.5;
/** Calls in progress when a recovery begins; twice as many with each round of answers. */
const INITIAL_WINDOW = 4;
/**
 * Calls in progress at most during a recovery. A whole node's sessions take a few rounds, and a
 * service that has just come back does not meet hundreds of calls at once from every node.
 */
const MAX_WINDOW = 64;
/** How long a recovery lasts after its beginning or its latest failure. */
const RECOVERY: DurationMs = 10_000;
/** Fraction of the observed rate that is used after a throttle. */
const BACK_OFF = 0.8;
/** Fraction by which the rate grows per second without a throttle, at first. */
const GROWTH = 0.04;
/** Time without a throttle after which the rate was too low, and doubles. */
const DOUBLES_AFTER: DurationMs = 8_000;
/** The time in which it doubles then. */
const DOUBLING: DurationMs = 2_000;
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
 * slowly; but one that was learned while others used up the quota is soon left behind. While EKS
 * Auth fails there are a few probes per second at most. When it answers again, the number of calls
 * in progress is limited for ten seconds: to a few at first, and one more with each answer, which
 * doubles it with each round (as TCP starts slowly, RFC 5681, section 3.1).
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
  /** When the operator's limit allows the next call. */
  #ceilingAt: MonotonicMs = 0;
  /** Recoveries that have begun. */
  #recoveries = 0;
  #recoveredAt: MonotonicMs = 0;
  /** Calls of the current recovery that may be in progress, and that are. */
  #window = 0;
  #inProgress = 0;

  /**
   * @param ceiling - Most calls per second. Default: no limit.
   */
  constructor(clock: Clock, ceiling = Number.POSITIVE_INFINITY) {
    this.#clock = clock;
    this.#ceiling = ceiling;
  }

  /** What limits the pace now. */
  get mode(): PaceMode {
    return this.#isOver(this.#clock.elapsed()) ? 'unlimited' : this.#mode;
  }

  /** Calls that may start per second now; `Infinity` without a limit. */
  get rate(): number {
    return Math.min(this.#currentRate(this.#clock.elapsed()), this.#ceiling);
  }

  /**
   * When the next call may start; a time in the past means at once. During a recovery it may start
   * earlier, when a call has ended.
   */
  get earliest(): MonotonicMs {
    const full = this.#mode === 'recovering' && this.#inProgress >= this.#window;
    const earliest = Math.max(this.#earliest, this.#ceilingAt);
    return full ? Math.max(earliest, this.#recoveredAt) : earliest;
  }

  /** Records that a call starts now. */
  started(): PacedCall {
    const now = this.#clock.elapsed();
    if (this.#isOver(now)) this.#lift();
    const rate = this.rate;
    this.#earliest =
      rate === Number.POSITIVE_INFINITY ? 0 : Math.max(this.#earliest, now) + 1_000 / rate;
    this.#ceilingAt = now + 1_000 / this.#ceiling;
    this.#inProgress += 1;
    return { recovery: this.#recoveries };
  }

  /**
   * Records how a call has ended.
   *
   * @param result - Undefined: nothing was learned about the service.
   * @param call - What {@link started} has returned. Default: a call that was given up, and is
   *   answered after all.
   */
  ended(result: CallResult | undefined, call?: PacedCall): void {
    const now = this.#clock.elapsed();
    if (this.#isOver(now)) this.#lift();
    const earlier = call !== undefined && call.recovery !== this.#recoveries;
    if (call !== undefined && !earlier) this.#inProgress -= 1;
    if (result === 'answered') this.#answered(now);
    else if (result === 'throttled') this.#throttled(now);
    // What was sent before the service came back is lost, and says nothing about it.
    else if (result === 'failed' && !(earlier && this.#mode === 'recovering')) this.#failed(now);
  }

  /** What calls fail for may be over: while they fail, the next one may start at once. */
  allowProbe(): void {
    if (this.#mode === 'failing') this.#earliest = 0;
  }

  #answered(now: MonotonicMs): void {
    this.#failures = 0;
    this.#answers.push(now);
    this.#dropOldAnswers(now);
    if (this.#mode === 'failing') this.#recover(now);
    else if (this.#mode === 'recovering') this.#window = Math.min(MAX_WINDOW, this.#window + 1);
    else if (this.#mode === 'throttled') this.#raiseForLateAnswers(now);
  }

  #recover(now: MonotonicMs): void {
    this.#lift();
    this.#mode = 'recovering';
    this.#recoveries += 1;
    this.#recoveredAt = now + RECOVERY;
    this.#window = INITIAL_WINDOW;
    this.#inProgress = 0;
  }

  /**
   * A throttled call is answered faster than a granted one: of calls made at the same time, the
   * first throttle arrives before the answers that show what the quota is.
   */
  #raiseForLateAnswers(now: MonotonicMs): void {
    const observed = this.#answers.length * BACK_OFF;
    const rate = this.#currentRate(now);
    if (observed <= rate) return;
    this.#rate *= observed / rate;
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
    if (this.#mode === 'recovering') {
      this.#window = Math.max(1, Math.floor(this.#window / 2));
      this.#recoveredAt = now + RECOVERY;
    }
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

  /** Whether the mode that was learned no longer applies. */
  #isOver(now: MonotonicMs): boolean {
    if (this.#mode === 'unlimited') return false;
    return this.#isOutdated(now) || (this.#mode === 'recovering' && now >= this.#recoveredAt);
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
    const since = Math.max(0, now - this.#changedAt);
    const doublings = Math.max(0, since - DOUBLES_AFTER) / DOUBLING;
    return this.#rate * (1 + (GROWTH * since) / 1_000) * 2 ** doublings;
  }

  #dropOldAnswers(now: MonotonicMs): void {
    const first = this.#answers.findIndex((at) => at > now - WINDOW);
    this.#answers = first < 0 ? [] : this.#answers.slice(first);
  }
}
