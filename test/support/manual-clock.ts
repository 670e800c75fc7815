import type { Clock, DurationMs, EpochMs, Timer } from '../../src/clock.ts';

interface Pending extends Timer {
  readonly at: DurationMs;
  readonly callback: () => void;
}

/**
 * A clock that stands still until the test moves it. Timers follow {@link elapsed}, as real
 * ones do: a jump of the wall clock fires none.
 */
export class ManualClock implements Clock {
  #elapsed: DurationMs = 0;
  #wall: EpochMs;
  /** In the order in which they were set, which is the order of timers that are due together. */
  readonly #pending = new Set<Pending>();

  /** @param start - What {@link now} says at first. */
  constructor(start: EpochMs = Date.parse('2026-01-01T00:00:00Z')) {
    this.#wall = start;
  }

  now(): EpochMs {
    return this.#wall + this.#elapsed;
  }

  elapsed(): DurationMs {
    return this.#elapsed;
  }

  setTimeout(callback: () => void, delay: DurationMs): Timer {
    const pending: Pending = {
      // Like Node's: nothing is called before `setTimeout` has returned.
      at: this.#elapsed + Math.max(0, delay),
      callback,
      unref: () => pending,
    };
    this.#pending.add(pending);
    return pending;
  }

  clearTimeout(timer: Timer | undefined): void {
    this.#pending.delete(timer as Pending);
  }

  /** How many timers are set. */
  get pending(): number {
    return this.#pending.size;
  }

  /** When the next timer is due, from now; undefined when none is set. */
  get next(): DurationMs | undefined {
    const [first] = this.#due(Number.POSITIVE_INFINITY);
    return first === undefined ? undefined : first.at - this.#elapsed;
  }

  /**
   * Moves the time on, and fires what falls due on the way one by one, in its order, each
   * when it is due. Promise chains settle before, between and after.
   */
  async advance(by: DurationMs): Promise<void> {
    const end = this.#elapsed + by;
    await settle();
    for (;;) {
      const [first] = this.#due(end);
      if (first === undefined) break;
      this.#pending.delete(first);
      this.#elapsed = Math.max(this.#elapsed, first.at);
      first.callback();
      await settle();
    }
    this.#elapsed = end;
  }

  /** Resolves when a timer is set. */
  async waiting(): Promise<void> {
    while (this.#pending.size === 0) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Sets the wall clock forward, or back where `by` is negative; {@link elapsed} stays. */
  jump(by: DurationMs): void {
    this.#wall += by;
  }

  #due(end: DurationMs): Pending[] {
    return [...this.#pending]
      .filter(({ at }) => at <= end)
      .sort((left, right) => left.at - right.at);
  }
}

/** Lets promise chains that wait for nothing from outside run to their end. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
