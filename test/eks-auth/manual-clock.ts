import type { Clock, DurationMs, EpochMs, Timer } from '../../src/clock.ts';

/** A clock that stands still until the test moves it. */
export class ManualClock implements Clock {
  #elapsed: DurationMs = 0;
  #due = new Map<object, { at: DurationMs; callback: () => void }>();
  readonly #start: EpochMs;

  constructor(start: EpochMs = Date.parse('2026-01-01T00:00:00Z')) {
    this.#start = start;
  }

  now(): EpochMs {
    return this.#start + this.#elapsed;
  }

  elapsed(): DurationMs {
    return this.#elapsed;
  }

  setTimeout(callback: () => void, delay: DurationMs): Timer {
    const timer = { unref: () => timer };
    this.#due.set(timer, { at: this.#elapsed + delay, callback });
    return timer;
  }

  clearTimeout(timer: Timer | undefined): void {
    if (timer) this.#due.delete(timer);
  }

  /** How many calls are pending. */
  get pending(): number {
    return this.#due.size;
  }

  /** Moves the time on, calls what falls due on the way, and lets its promises settle. */
  async advance(by: DurationMs): Promise<void> {
    const end = this.#elapsed + by;
    for (;;) {
      const [next] = [...this.#due].sort(([, a], [, b]) => a.at - b.at);
      if (!next || next[1].at > end) break;
      this.#due.delete(next[0]);
      this.#elapsed = next[1].at;
      next[1].callback();
      await settle();
    }
    this.#elapsed = end;
    await settle();
  }
}

/** Lets promises that have nothing to wait for settle. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
