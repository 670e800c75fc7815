import type { Clock, DurationMs, MonotonicMs, Timer } from '../clock.ts';

/** How long a call is waited for without a second one, however slow EKS Auth may be. */
const PATIENCE: DurationMs = 6_000;
/** By how much a call that was answered has to have begun later than one that was not. */
const LEAD: DurationMs = 1_500;

/** A call that is under way. */
export interface UnansweredCall {
  /** Resolves when a second call is worth making; the first may still be answered. */
  readonly overtaken: Promise<void>;
  /**
   * The call has ended, or is not waited for any more.
   *
   * @param answered - EKS Auth has answered it, with whatever.
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
 * Tells calls that are slow from calls that are lost. What went out while the way to EKS Auth
 * was a black hole is answered by nobody, and would hold its session up until the attempt's
 * time-out. So a call that has had no answer for a while is made a second time once a call that
 * began later is answered; and while none is, one of all that wait is, now and then.
 */
export class UnansweredCalls {
  readonly #clock: Clock;
  readonly #underWay = new Set<UnderWay>();
  #answeredStartedAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  #probedAt: MonotonicMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A call begins. */
  begin(): UnansweredCall {
    const { promise, resolve } = Promise.withResolvers<void>();
    const call: UnderWay = {
      startedAt: this.#clock.elapsed(),
      overtake: resolve,
      timer: undefined,
      overdue: false,
    };
    this.#underWay.add(call);
    this.#lookAgain(call);
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

  #lookAgain(call: UnderWay): void {
    call.timer = this.#clock.setTimeout(() => {
      call.overdue = true;
      const now = this.#clock.elapsed();
      const probe = now - this.#probedAt >= PATIENCE;
      if (probe) this.#probedAt = now;
      if (probe || this.#isOvertaken(call)) call.overtake();
      else this.#lookAgain(call);
    }, PATIENCE);
    call.timer.unref();
  }

  #isOvertaken({ startedAt }: UnderWay): boolean {
    return startedAt + LEAD <= this.#answeredStartedAt;
  }
}
