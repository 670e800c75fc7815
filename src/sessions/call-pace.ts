import type { Clock, DurationMs, MonotonicMs } from '../clock.ts';

/** How a call to EKS Auth ended, as far as the pace of the next ones goes. */
export type CallResult =
  /** An answer about the pod, whether credentials or a refusal: the service is well. */
  | 'answered'
  /** The account's quota is used up. */
  | 'throttled'
  /** No usable answer: out of reach, failing, or the node's own credentials are refused. */
  | 'failed';

/** What decides how fast EKS Auth may be called. */
export type PaceMode =
  /** Nothing but the operator's ceiling: it answers, or nobody has asked for a while. */
  | 'unlimited'
  /** It throttles: about the rate that it grants. */
  | 'throttled'
  /** It gives no usable answer: a few probes a second at most. */
  | 'failing';

/** Failures in a row, without an answer in between, that mean trouble and not a blip. */
const TROUBLE = 3;
/** Calls a second once it is failing; halved with every failure that follows. */
const FAILING_RATE = 4;
/** The least rate: a service that comes back is found out within two seconds. */
const LEAST_RATE = 0.5;
/** The rate at which a recovered service is taken to be well. */
const RECOVERED_RATE = 64;
/** Part of the observed rate that is asked for after a throttle. */
const BACK_OFF = 0.8;
/** By what part the rate grows in a second without a throttle. */
const GROWTH = 0.04;
/**
 * Time without a throttle or a failure after which the bound goes. Where calls are made, the rate
 * grew all the while; where none are, what was learned is too old to say anything.
 */
const FORGET_AFTER: DurationMs = 120_000;
/** The span over which answers are counted to tell what the quota may be. */
const WINDOW = 1_000;

/**
 * How fast EKS Auth may be called, learned from how calls end: without a bound until it
 * throttles or fails; after a throttle at about the rate that was answered, feeling its way
 * up; while it fails a few probes a second at most; and after that doubling with each answer.
 */
export class CallPace {
  readonly #clock: Clock;
  /** Calls a second that the operator allows at all times. */
  readonly #ceiling: number;
  #mode: PaceMode = 'unlimited';
  #rate = Number.POSITIVE_INFINITY;
  #failures = 0;
  #answers: MonotonicMs[] = [];
  #changedAt: MonotonicMs = 0;
  /** The latest throttle or failure. */
  #troubleAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  #backedOffAt: MonotonicMs = 0;
  #earliest: MonotonicMs = 0;

  /**
   * @param ceiling - Calls a second never to be exceeded. Default is no bound.
   */
  constructor(clock: Clock, ceiling = Number.POSITIVE_INFINITY) {
    this.#clock = clock;
    this.#ceiling = ceiling;
  }

  /** Why the pace is what it is. */
  get mode(): PaceMode {
    return this.#forgotten(this.#clock.elapsed()) ? 'unlimited' : this.#mode;
  }

  /** Calls that may be started a second now; `Infinity` without a bound. */
  get rate(): number {
    return Math.min(this.#grown(this.#clock.elapsed()), this.#ceiling);
  }

  /** When the next call may start; not after now means at once. */
  get earliest(): MonotonicMs {
    return this.#earliest;
  }

  /** A call starts now. */
  started(): void {
    const now = this.#clock.elapsed();
    const rate = this.rate;
    this.#earliest =
      rate === Number.POSITIVE_INFINITY ? 0 : Math.max(this.#earliest, now) + 1_000 / rate;
  }

  /** A call has ended. */
  ended(result: CallResult): void {
    const now = this.#clock.elapsed();
    if (this.#mode !== 'unlimited' && this.#forgotten(now)) this.#lift();
    if (result === 'answered') this.#answered(now);
    else if (result === 'throttled') this.#throttled(now);
    else this.#failed(now);
  }

  #answered(now: MonotonicMs): void {
    this.#failures = 0;
    this.#answers.push(now);
    this.#forgetAnswers(now);
    if (this.#mode === 'failing') {
      this.#set(now, Math.max(this.#rate, LEAST_RATE) * 2);
      this.#earliest = now;
      if (this.#rate >= RECOVERED_RATE) this.#lift();
    } else if (this.#mode === 'throttled') {
      this.#hearLateAnswers(now);
    }
  }

  /**
   * A service throttles sooner than it grants: of calls that were under way together, the
   * first throttle comes before the answers that tell what the quota is.
   */
  #hearLateAnswers(now: MonotonicMs): void {
    const observed = this.#answers.length * BACK_OFF;
    if (observed <= this.#grown(now)) return;
    this.#set(now, observed);
    this.#earliest = Math.min(this.#earliest, now + 1_000 / observed);
  }

  #throttled(now: MonotonicMs): void {
    this.#failures = 0;
    this.#forgetAnswers(now);
    // Calls that were under way together are throttled together: they count once.
    const again = this.#mode === 'throttled' && now - this.#backedOffAt < WINDOW;
    this.#troubleAt = now;
    if (again) return;
    this.#backedOffAt = now;
    const observed = Math.min(this.#grown(now), this.#answers.length);
    this.#mode = 'throttled';
    this.#set(now, Math.max(LEAST_RATE, observed * BACK_OFF));
    this.#earliest = Math.max(this.#earliest, now + 1_000 / this.#rate);
  }

  #failed(now: MonotonicMs): void {
    this.#failures = this.#forgotten(now) ? 1 : this.#failures + 1;
    this.#troubleAt = now;
    if (this.#failures < TROUBLE) return;
    const rate = FAILING_RATE / 2 ** Math.min(10, this.#failures - TROUBLE);
    this.#mode = 'failing';
    this.#set(now, Math.max(LEAST_RATE, rate));
    this.#earliest = Math.max(this.#earliest, now + 1_000 / this.#rate);
  }

  /** Whether the last trouble is so long ago that the bound no longer holds. */
  #forgotten(now: MonotonicMs): boolean {
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

  #grown(now: MonotonicMs): number {
    if (this.#forgotten(now)) return Number.POSITIVE_INFINITY;
    if (this.#mode !== 'throttled') return this.#rate;
    return this.#rate * (1 + (GROWTH * Math.max(0, now - this.#changedAt)) / 1_000);
  }

  #forgetAnswers(now: MonotonicMs): void {
    const first = this.#answers.findIndex((at) => at > now - WINDOW);
    this.#answers = first < 0 ? [] : this.#answers.slice(first);
  }
}
