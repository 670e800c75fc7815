import type { Clock, DurationMs, EpochMs, Timer } from '../../src/clock.ts';

interface Pending extends Timer {
  at: EpochMs;
  callback: () => void;
}

/** A clock that stands still until it is moved. Starts at the real time, for real clients. */
export class ManualClock implements Clock {
  #now: EpochMs = Date.now();
  readonly #pending = new Set<Pending>();

  now(): EpochMs {
    return this.#now;
  }

  elapsed(): DurationMs {
    return this.#now;
  }

  setTimeout(callback: () => void, delay: DurationMs): Timer {
    const pending = { at: this.#now + delay, callback, unref: () => undefined };
    this.#pending.add(pending);
    return pending;
  }

  clearTimeout(timer: Timer | undefined): void {
    this.#pending.delete(timer as Pending);
  }

  /** How many calls are pending. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Moves time forward and makes the calls that fall due, in their order. */
  advance(duration: DurationMs): void {
    const end = this.#now + duration;
    for (;;) {
      const due = [...this.#pending]
        .filter(({ at }) => at <= end)
        .sort((left, right) => left.at - right.at)[0];
      if (due === undefined) break;
      this.#pending.delete(due);
      this.#now = due.at;
      due.callback();
    }
    this.#now = end;
  }

  /** Resolves when a call is pending. */
  async waiting(): Promise<void> {
    while (this.#pending.size === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}
