import type { Clock, DurationMs, MonotonicMs, Timer } from '../clock.ts';

/** How long a call may stay unanswered before a second one is considered. */
const OVERDUE_AFTER: DurationMs = 6_000;
/** How much later than an unanswered call an answered one must have started. */
const MIN_LEAD: DurationMs = 1_500;

/** A call in progress. */
export interface UnansweredCall {
  /** Resolves when a second call should be made; the first may still be answered. */
  readonly overtaken: Promise<void>;
  /**
   * The call has ended, or nobody waits for it any more. May be called again with `true` if the
   * answer comes later.
   *
   * @param answered - Whether EKS Auth has answered this call, with success or an error.
   */
  end(answered: boolean): void;
}

interface UnderWay {
  readonly startedAt: MonotonicMs;
  readonly overtake: () => void;
  timer: Timer | undefined;
  overdue: boolean;
}

/**
 * Tells slow calls from lost ones. A request that was sent while the network dropped packets is
 * never answered, and would block its session until the attempt times out. So a call that has been
 * unanswered for 6 s is made a second time if a call that started at least 1.5 s later has been
 * answered. While no call is answered, one of all those that wait is made again every 6 s.
 */
export class UnansweredCalls {
  readonly #clock: Clock;
  readonly #underWay = new Set<UnderWay>();
  #answeredStartedAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  #probedAt: MonotonicMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Records that a call starts now. */
  begin(): UnansweredCall {
    const { promise, resolve } = Promise.withResolvers<void>();
    const call: UnderWay = {
      startedAt: this.#clock.elapsed(),
      overtake: resolve,
      timer: undefined,
      overdue: false,
    };
    this.#underWay.add(call);
    this.#watch(call);
    return { overtaken: promise, end: (answered) => this.#end(call, answered) };
  }

  #end(call: UnderWay, answered: boolean): void {
    this.#clock.clearTimeout(call.timer);
    this.#underWay.delete(call);
    if (!answered) return;
    this.#answeredStartedAt = Math.max(this.#answeredStartedAt, call.startedAt);
    for (const other of this.#underWay) {
      if (other.overdue && this.#isOvertaken(other)) other.overtake();
    }
  }

  #watch(call: UnderWay): void {
    call.timer = this.#clock.setTimeout(() => {
      call.overdue = true;
      const now = this.#clock.elapsed();
      const probe = now - this.#probedAt >= OVERDUE_AFTER;
      if (probe) this.#probedAt = now;
      if (probe || this.#isOvertaken(call)) call.overtake();
      else this.#watch(call);
    }, OVERDUE_AFTER);
    call.timer.unref();
  }

  #isOvertaken({ startedAt }: UnderWay): boolean {
    return startedAt + MIN_LEAD <= this.#answeredStartedAt;
  }
}
